-- Makes the buffer, or checks that it is the one expected. ARGV: 2 layout, 3 shards.
-- What members left behind that are gone comes again.
drains()
local stored = call('HMGET', META, 'format', 'layout', 'shards')
if not stored[1] then
  if call('EXISTS', ERASED) == 1 then return absent() end
  local refused = prepare(tonumber(ARGV[3]))
  if refused then return fail('ERR', refused) end
  call('HSET', META, 'format', 2, 'layout', ARGV[2], 'shards', ARGV[3])
  call('HSETNX', META, 'seq', format('%d', FIRST))
  for _, name in ipairs({ 'ms', 'held', 'dead' }) do call('HSETNX', META, name, 0) end
  -- If only this key was lost, no block may get the number of one that waits.
  local newest = call('LINDEX', INBOX, 0)
  call('HSETNX', META, 'block', newest and string.match(newest, '%d+$') or 0)
else
  if stored[1] ~= '2' then return fail('FORMAT', stored[1]) end
  if stored[2] ~= ARGV[2] then return fail('LAYOUT', stored[2]) end
  if stored[3] ~= ARGV[3] then return fail('SHARDS', stored[3]) end
  local refused = prepare(tonumber(ARGV[3]))
  if refused then return fail('ERR', refused) end
end
end_orphans()
return now
