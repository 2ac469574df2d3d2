-- Removes the buffer for good, unless it holds something or processes lease from it. ARGV: 2 layout, 3 shards, 4 how
-- long nothing makes it anew (ms). Replies with how many are ready, leased, delayed and dead, and with the members:
-- it is erased if there are none.
local stored = call('HMGET', META, 'layout', 'shards', 'held')
if stored[1] and stored[1] ~= ARGV[2] then return fail('LAYOUT', stored[1]) end
local shards = tonumber(stored[2] or ARGV[3])
local list = GROUP == ''
local source = list and call('LLEN', N) or call('XLEN', N)
local leased, fresh = 0, 0
local leases = call('ZRANGE', LEASES, 0, -1)
for _, name in ipairs(leases) do leased = leased + call('HLEN', P .. 'lease:' .. name) end
for shard = 0, shards - 1 do
  fresh = fresh + (list and call('LLEN', P .. shard) or call('XLEN', P .. shard))
end
local blocks = list and call('LRANGE', INBOX, 0, -1) or {}
for _, name in ipairs(blocks) do fresh = fresh + call('LLEN', BLOCK .. string.match(name, '%d+$')) end
local delayed = call('ZCARD', LATER)
-- A stream's shards hold what is leased, too.
local seen = list and leased + fresh + call('HLEN', BACK) or fresh
local held = math.max(tonumber(stored[3] or 0), seen)
local ready = math.max(0, held - leased - delayed) + source
local dead = call('XLEN', DEAD)
local members = call('ZRANGEBYSCORE', MEMBERS, format('(%d', now), '+inf')
if ready + leased + delayed + dead + #members > 0 then
  return { ready, leased, delayed, dead, members }
end

-- The first write never grows: a Redis out of memory refuses no more then.
call('UNLINK', STAGE)
call('SET', ERASED, now, 'PX', ARGV[4])
for _, name in ipairs(leases) do call('UNLINK', P .. 'lease:' .. name) end
for shard = 0, shards - 1 do call('UNLINK', P .. shard, P .. 'again:' .. shard) end
for _, name in ipairs(blocks) do call('UNLINK', BLOCK .. string.match(name, '%d+$')) end
for _, name in ipairs({ 'in', 'meta', 'back', 'later', 'leases', 'members', 'shards', 'dead', 'last', 'claims' }) do
  call('UNLINK', P .. name)
end
call('UNLINK', N)
return { 0, 0, 0, 0, {} }
