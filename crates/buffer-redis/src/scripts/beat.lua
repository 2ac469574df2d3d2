-- A member says that it lives, and shards are spread evenly. ARGV: 2 member, 3 member_ms, 4 shards in
-- all, 5 'join', 'stay' or 'leave', 6 shards given up, as bytes.
-- Replies with the members, the events that came back from lost ones, my shards, and the last
-- delivered id of each (streams).
local member, total, mode, given = ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6]
if not call('HGET', META, 'format') then return absent() end
if mode == 'stay' and not call('ZSCORE', MEMBERS, member) then return fail('FENCED') end

drains()
local owners = {}
local all = call('HGETALL', SHARDS)
for i = 1, #all, 2 do owners[tonumber(all[i])] = all[i + 1] end
local function free(shard)
  call('HDEL', SHARDS, shard)
  retire(owners[shard], shard)
  owners[shard] = nil
end

if mode == 'leave' then
  -- What is still held stays leased until it is acked, expires, or somebody takes the shards over.
  for shard, owner in pairs(owners) do
    if owner == member then free(shard) end
  end
  call('ZREM', MEMBERS, member)
  call('HDEL', CLAIMS, member)
  return { 0, 0, {}, {} }
end

call('ZADD', MEMBERS, now + ARGV[3], member)
for i = 1, #given do
  local shard = byte(given, i)
  if owners[shard] == member then free(shard) end
end
for _, lost in ipairs(call('ZRANGEBYSCORE', MEMBERS, '-inf', now, 'LIMIT', 0, 64)) do
  if lost ~= member then
    call('ZREM', MEMBERS, lost)
    call('HDEL', CLAIMS, lost)
  end
end
local back = end_orphans()
local alive = {}
for shard, owner in pairs(owners) do
  if alive[owner] == nil then alive[owner] = call('ZSCORE', MEMBERS, owner) and true or false end
  if not alive[owner] then free(shard) end
end

local members = call('ZCARD', MEMBERS)
local fair = math.ceil(total / members)
local mine = {}
for shard, owner in pairs(owners) do
  if owner == member then mine[#mine + 1] = shard end
end
local refused, taken = {}, false
for i = 1, #given do refused[byte(given, i)] = true end
for shard = 0, total - 1 do
  if #mine >= fair then break end
  if not owners[shard] and not refused[shard] then
    call('HSET', SHARDS, shard, member)
    mine[#mine + 1] = shard
    taken = true
  end
end
-- A delay was meant for the former owner, which knows what waits for what. For a new one, what comes again
-- comes before fresh events of its key: so nothing of these shards is delayed any longer. LATER does not
-- tell shards apart; that others wait for less long harms nothing.
if taken then
  local waiting, due = call('ZRANGE', LATER, 0, -1), {}
  for i = 1, #waiting do due[2 * i - 1], due[2 * i] = now, waiting[i] end
  each_chunk('ZADD', LATER, due, #due)
end
table.sort(mine)
local lasts = {}
if GROUP ~= '' and #mine > 0 then
  for i, last in ipairs(call('HMGET', P .. 'last', unpack(mine))) do lasts[i] = last or '0-0' end
end
return { members, back, mine, lasts }
