-- Dead letters become new events. ARGV: 2 events_max, 3 shards, then their numbers.
-- Replies with how many.
local max, shards = tonumber(ARGV[2]), tonumber(ARGV[3])
local letters, seen = {}, {}
for i = 4, #ARGV do
  if not seen[ARGV[i]] then
    seen[ARGV[i]] = true
    local id = ARGV[i] .. '-0'
    local entry = call('XRANGE', DEAD, id, id)[1]
    if entry then letters[#letters + 1] = entry end
  end
end
local n = #letters
if n == 0 then return 0 end
if n > max then return fail('TOOMANY', n) end
local meta = call('HMGET', META, 'held', 'ms', 'format')
if not meta[3] then return absent() end
if meta[1] + n > max then return fail('FULL') end
table.sort(letters, function(a, b)
  return tonumber(string.match(a[1], '^%d+')) < tonumber(string.match(b[1], '^%d+'))
end)
local ms = accept_ms(meta[2])
local base = GROUP ~= '' and call('HINCRBY', META, 'seq', n) - n
for i, entry in ipairs(letters) do
  local fields = entry[2]
  local id, key, payload = fields[2], fields[4], fields[6]
  local shard = shard_for(key == '' and id or key, shards)
  if base then
    push(shard, base + i, ms, ms, id, key, payload)
  else
    call('LPUSH', STAGE, tail_of(shard, id, key, payload))
  end
end
-- As what is offered now: behind what waits.
if not base then
  call('LTRIM', STAGE, 0, n - 1)
  make_block(n, ms)
end
call('HINCRBY', META, 'held', n)
for _, entry in ipairs(letters) do call('XDEL', DEAD, entry[1]) end
return n
