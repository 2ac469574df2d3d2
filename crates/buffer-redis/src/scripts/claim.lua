-- Leases events of a member's shards: first those that come again, then fresh ones; of lists the lowest over
-- all, of streams as many of each. ARGV: 2 member, 3 token, 4 max, 5 lease_ms, 6 shards
-- as bytes, 7 id field, 8 key field, 9 stream field, 10 shards in all, 11 dead_max, 12 events_max,
-- 13 shards as bytes of which only what comes again is leased.
-- Replies with how long until something is due (ms, -1: nothing is) and the events.
local ROUTE_MAX, REAP_MAX, EXPIRED_MAX, DUE_MAX = 1000, 10000, 100, 1000
local member, token, max, owned = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[6]
if not call('ZSCORE', MEMBERS, member) then return fail('FENCED') end
local shards, returning = {}, {}
for i = 1, #owned do shards[i], returning[i] = byte(owned, i), byte(owned, i) end
for i = 1, #ARGV[13] do returning[#returning + 1] = byte(ARGV[13], i) end
for _, owner in ipairs(stored_in(SHARDS, returning, #returning)) do
  if owner ~= member then return fail('FENCED') end
end

drains()
local key = lease_key(member, token)
local out = {}
-- The reply to this claim was lost: it is given once more.
if call('EXISTS', key) == 1 then
  call('ZADD', LEASES, now + ARGV[5], member .. ':' .. token)
  tell(values_in(key), out, 0)
  return { 0, out }
end

-- A copy of a claim that was delayed on its way, and answered meanwhile by another: whatever it took
-- now, nobody would know of.
if tonumber(token) <= tonumber(call('HGET', CLAIMS, member) or 0) then return { 0, {} } end

local reaped, expired = 0, call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, EXPIRED_MAX)
for _, name in ipairs(expired) do
  if reaped >= REAP_MAX then break end
  reaped = reaped + end_lease(name)
end
local due = call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, DUE_MAX)
if #due > 0 then
  local values = values_of(BACK, due, #due)
  for i = 1, #due do
    if values[i] then
      call('ZADD', P .. 'again:' .. shard_of(values[i]), tonumber(due[i]), due[i])
    end
  end
  call('ZREM', LATER, unpack(due))
end
-- Those that come again go first, the lowest of them before the others: none is taken before all that are due
-- or were in expired leases are among them.
local function remains(zset) return #call('ZRANGEBYSCORE', zset, '-inf', now, 'LIMIT', 0, 1) > 0 end
local more = #due == DUE_MAX and remains(LATER)
if #expired == EXPIRED_MAX or reaped >= REAP_MAX then more = more or remains(LEASES) end
-- What came before it comes before it.
local foreign = source_length() > 0
if foreign then route_blocks(math.max(max, ROUTE_MAX), 0, {}, {}, {}, 0) end
if foreign and call('EXISTS', INBOX) == 0 then
  local room = ARGV[12] + ROUTE_MAX - (call('HGET', META, 'held') or 0)
  if room > 0 then
    route(math.min(room, ROUTE_MAX), ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]))
  end
end

local fields, at = {}, 0

-- Takes the lowest over these shards, up to `max` in all, without comparing event by event: whatever is not
-- above the last one of any window that may have more behind it is lower than all that was not looked at.
-- look(shard, n) gives items, their count; seq(items, i); get(shard, items, count, at) the next `at`.
local function lowest(live, max, at, look, seq, get)
  while at < max and #live > 0 do
    local room = max - at
    local window = math.max(1, math.floor(room / #live))
    local found, still, edge = {}, {}, nil
    for _, shard in ipairs(live) do
      local items, count = look(shard, window)
      if count > 0 then
        found[#found + 1] = { shard, items, count }
        if count == window then
          still[#still + 1] = shard
          local last = seq(items, count)
          if not edge or last < edge then edge = last end
        end
      end
    end
    for _, one in ipairs(found) do
      local items, count = one[2], one[3]
      if edge and seq(items, count) > edge then
        local low, high = 0, count
        while low < high do
          local middle = math.floor((low + high + 1) / 2)
          if seq(items, middle) <= edge then low = middle else high = middle - 1 end
        end
        count = low
      end
      if count > 0 then at = get(one[1], items, count, at) end
      if count < one[3] and one[3] < window then still[#still + 1] = one[1] end
    end
    live = still
    -- Rather fewer now than another round over all shards for the last few.
    if at * 2 >= max then break end
  end
  return at
end

local backs = call('HLEN', BACK)
if backs > 0 and not more then
  at = lowest(returning, max, at, function(shard, n)
    local seqs = call('ZRANGE', P .. 'again:' .. shard, 0, n - 1)
    if seqs[1] and not has_group(shard) then return {}, 0 end
    return seqs, #seqs
  end, function(seqs, i) return tonumber(seqs[i]) end, function(shard, seqs, count, so_far)
    local values, kept = values_of(BACK, seqs, count), {}
    for i = 1, count do
      if values[i] then kept[#kept + 1] = values[i] end
    end
    each_chunk('HDEL', BACK, seqs, count)
    each_chunk('ZREM', P .. 'again:' .. shard, seqs, count)
    return take_again(shard, kept, #kept, member, out, fields, so_far)
  end)
end
if at > 0 and at < max then
  for _, shard in ipairs(returning) do
    if call('EXISTS', P .. 'again:' .. shard) == 1 then more = true end
  end
end
if at < max and not more then
  local lost
  -- Streams find theirs without lowest().
  at, lost = take_fresh(shards, max, member, out, fields, at, lowest)
  -- Nothing is made here: what is missing may be on its way to another master.
  if lost and at == 0 then return absent() end
end

if at < max and not more and not foreign then
  local direct = {}
  for _, shard in ipairs(shards) do
    if call('EXISTS', P .. shard) == 0 then direct[format('%03d', shard)] = true end
  end
  local room = max - at
  local limit = #shards == tonumber(ARGV[10]) and room or math.max(max, ROUTE_MAX)
  at = route_blocks(limit, room, direct, out, fields, at)
end

-- Only now: one that was answered LOST took nothing, and may be repeated under its token.
call('HSET', CLAIMS, member, token)
if at > 0 then
  each_chunk('HSET', key, fields, 2 * at)
  call('ZADD', LEASES, now + ARGV[5], member .. ':' .. token)
  return { 0, out }
end
local wait = -1
for _, zset in ipairs({ LEASES, LATER }) do
  local first = call('ZRANGE', zset, 0, 0, 'WITHSCORES')
  if first[2] then
    local left = math.max(0, first[2] - now)
    if wait < 0 or left < wait then wait = left end
  end
end
return { wait, out }
