-- Finds entries that are pending though nobody knows of them (somebody deleted keys or read with our group by
-- hand, or Redis evicted keys): they come again. Drops consumers that hold nothing and are no members.
-- ARGV: 2 member, 3 idle ms, 4 shards as bytes.
-- It goes on where it stopped last time, whoever stopped. Replies with how many were found.
local FOUND_MAX = 100
local member, idle, owned = ARGV[2], ARGV[3], ARGV[4]
if not call('ZSCORE', MEMBERS, member) then return fail('FENCED') end
drains()
local leases = call('ZRANGE', LEASES, 0, -1)
local function holder(seq)
  for _, name in ipairs(leases) do
    if call('HEXISTS', P .. 'lease:' .. name, seq) == 1 then return string.match(name, '^(.*):') end
  end
end
-- Of processes that are gone, whose last events were acked since or taken over, and of whoever read with our
-- group by hand: a consumer is made anew by its next read.
local function forget_consumers(shard)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', P .. shard, GROUP)
  -- A user who may not ask keeps them, and finds what was pending all the same.
  if consumers.err then return end
  for _, told in ipairs(consumers) do
    local name, pending = told[2], told[4]
    if pending == 0 and name ~= PARKED and not call('ZSCORE', MEMBERS, name) then
      call('XGROUP', 'DELCONSUMER', P .. shard, GROUP, name)
    end
  end
end

local strays = 0
for i = 1, #owned do
  local shard = byte(owned, i)
  local place = 'cursor:' .. shard
  local reply = of_group('XAUTOCLAIM', P .. shard, GROUP, PARKED, idle,
    call('HGET', META, place) or '0-0', 'COUNT', FOUND_MAX, 'JUSTID')
  if not reply then reply = { '0-0', {} } end
  call('HSET', META, place, reply[1])
  local last = call('HGET', LAST, shard) or '0-0'
  for _, id in ipairs(reply[2]) do
    local seq = sub(id, 15)
    if call('HEXISTS', BACK, seq) == 0 then
      local who = holder(seq)
      if who then
        call('XCLAIM', P .. shard, GROUP, who, 0, id, 'JUSTID')
      else
        local pending = call('XPENDING', P .. shard, GROUP, id, id, 1)[1]
        local ms = sub(id, 1, 13)
        call('HSET', BACK, seq, ms .. format('%05d%03d', pending and pending[4] or 1, shard) .. ms .. FILL)
        call('ZADD', P .. 'again:' .. shard, tonumber(seq), seq)
        strays = strays + 1
      end
      -- Delivered to somebody by hand: it is not fresh any more.
      if id > last then
        last = id
        call('HSET', LAST, shard, id)
      end
    end
  end
  forget_consumers(shard)
end
return strays
