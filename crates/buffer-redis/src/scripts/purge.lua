-- Removes the source and everything beside it, whatever it holds, and that it was erased.
local shards = tonumber(call('HGET', META, 'shards') or 0)
for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do call('UNLINK', P .. 'lease:' .. name) end
for shard = 0, shards - 1 do call('UNLINK', P .. shard, P .. 'again:' .. shard) end
for _, name in ipairs(call('LRANGE', INBOX, 0, -1)) do
  call('UNLINK', BLOCK .. string.match(name, '%d+$'))
end
for _, name in ipairs({ 'in', 'stage', 'meta', 'back', 'later', 'leases', 'members', 'shards', 'dead', 'last', 'claims', 'erased' }) do
  call('UNLINK', P .. name)
end
call('UNLINK', N)
return shards
