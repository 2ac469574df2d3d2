-- Storage as streams. Fresh events lie past the last delivered id; the tail is an entry's field v (and
-- the accepted ms its field a, where it is not the id's). The entry id is <ms>-<seq>.
-- Leased ones are pending for their member, the others that were leased before for PARKED: whoever
-- looks with XPENDING sees what is so.
--
-- A value is the head and the entry's ms. What is stored of it under its seq is all but the seq: it is
-- the same text for every event of a millisecond, which Lua keeps once. FILL makes it longer than a
-- small hash takes, so that Redis does not search a list for every one that is added.
local PARKED = '-parked-'
local LAST = P .. 'last'
local FILL = string.rep(' ', 31)

local function stored_of(value) return sub(value, 17) end
local function value_of(seq, stored) return seq .. stored end
local function entry_of(value) return sub(value, 38, 50) .. '-' .. sub(value, 1, 16) end
-- Acks name an event by its entry.
local name_of = entry_of
local function seq_of(name) return sub(name, 15) end

-- A command on a group; nil where the group is gone, and maybe its stream: the tables tell what is held all
-- the same.
local function of_group(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'NOGROUP', 1, true) then return nil end
  -- Once more, so that it is told as what it is.
  return call(...)
end

local function has_group(shard) return of_group('XPENDING', P .. shard, GROUP) ~= nil end

-- Makes the groups that are missing. What is past the last entry that was delivered is fresh, also where
-- somebody destroyed a group.
local function prepare(shards)
  for shard = 0, shards - 1 do
    local made = redis.pcall('XGROUP', 'CREATE', P .. shard, GROUP, call('HGET', LAST, shard) or '0', 'MKSTREAM')
    if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
      return made.err
    end
  end
end

-- The next `n` fresh entries of a shard, oldest first.
local function peek(shard, n, after)
  if not after then
    local last = call('HGET', LAST, shard)
    after = last and '(' .. last or '-'
  end
  local items = call('XRANGE', P .. shard, after, '+', 'COUNT', n)
  return items, #items
end

local function seq_at(items, i) return tonumber(sub(items[i][1], 15)) end

-- What is stored of events accepted when their entry was made, by that ms.
local function stored_fresh(shard)
  local head, by_ms = format('00000%03d', shard), {}
  return function(entry_id, fields)
    local ms = sub(entry_id, 1, 13)
    local accepted = fields[4] and tonumber(fields[4])
    if accepted then return format('%013d', accepted) .. head .. ms .. FILL end
    local stored = by_ms[ms]
    if not stored then
      stored = ms .. head .. ms .. FILL
      by_ms[ms] = stored
    end
    return stored
  end
end

local function tell_one(out, at, entry_id, stored, fields)
  local o = 3 * at
  out[o - 2], out[o - 1], out[o] = entry_id, stored, fields[2]
end

-- Delivers up to `n` fresh ones of each of these shards to a member: lists of shard and entries. nil where
-- a stream or its group is gone, deleted by hand or on its way to another master.
local function deliver(member, n, shards)
  local args, by_key = {}, {}
  for i, shard in ipairs(shards) do
    args[i], args[#shards + i], by_key[P .. shard] = P .. shard, '>', shard
  end
  local replies = of_group('XREADGROUP', 'GROUP', GROUP, member, 'COUNT', n, 'STREAMS', unpack(args))
  if replies == nil then return nil end
  local came, lasts = {}, {}
  for i, reply in ipairs(replies or {}) do
    local shard, entries = by_key[reply[1]], reply[2]
    came[i] = { shard, entries }
    lasts[2 * i - 1], lasts[2 * i] = shard, entries[#entries][1]
  end
  if #came > 0 then call('HSET', LAST, unpack(lasts)) end
  return came
end

-- Of these shards the `n` whose first fresh one is the oldest, and the others that have some.
local function oldest_of(shards, n)
  local heads, found = {}, {}
  for _, shard in ipairs(shards) do
    local first = peek(shard, 1)[1]
    if first then
      heads[shard] = sub(first[1], 15)
      found[#found + 1] = shard
    end
  end
  table.sort(found, function(a, b) return heads[a] < heads[b] end)
  return { unpack(found, 1, n) }, { unpack(found, n + 1) }
end

-- Takes fresh ones of these shards until the lease has `max`: what is told of them goes to `out`, what the
-- lease stores to `fields`. Each shard that has some gives as many as the others; where that is not one
-- each, those give whose first is the oldest. To find the lowest over all shards would cost almost as much as
-- to take them, for Lua would see each payload twice.
local function take_fresh(shards, max, member, out, fields, at)
  local left = shards
  while at < max and #left > 0 do
    local chosen, still = left, {}
    if max - at < #left then chosen, still = oldest_of(left, max - at) end
    if #chosen == 0 then break end
    local window = math.floor((max - at) / #chosen)
    local came = deliver(member, window, chosen)
    if not came then return at, true end
    for _, one in ipairs(came) do
      local shard, entries = one[1], one[2]
      local stored_for = stored_fresh(shard)
      for i = 1, #entries do
        local entry_id, entry = entries[i][1], entries[i][2]
        local stored = stored_for(entry_id, entry)
        at = at + 1
        fields[2 * at - 1], fields[2 * at] = sub(entry_id, 15), stored
        tell_one(out, at, entry_id, stored, entry)
      end
      if #entries == window then still[#still + 1] = shard end
    end
    left = still
    if at * 2 >= max then break end
  end
  return at
end

-- Takes those that come again, whose values are given.
local function take_again(shard, values, count, member, out, fields, at)
  local ids, came = {}, {}
  for i = 1, count do ids[i] = entry_of(values[i]) end
  for from = 1, count, CHUNK do
    local entries = of_group('XCLAIM', P .. shard, GROUP, member, 0,
      unpack(ids, from, math.min(from + CHUNK - 1, count))) or {}
    for i = 1, #entries do
      if entries[i] then came[entries[i][1]] = entries[i][2] end
    end
  end
  for i = 1, count do
    -- One that somebody took off the group's pending ones by hand is still there.
    local entry = came[ids[i]] or (call('XRANGE', P .. shard, ids[i], ids[i])[1] or {})[2]
    if entry then
      at = at + 1
      local stored = stored_of(values[i])
      fields[2 * at - 1], fields[2 * at] = sub(values[i], 1, 16), stored
      tell_one(out, at, ids[i], stored, entry)
    else
      -- Somebody deleted it by hand: it is no longer held.
      call('HINCRBY', META, 'held', -1)
    end
  end
  return at
end

local function entry_at(value)
  local id = entry_of(value)
  local entry = call('XRANGE', P .. shard_of(value), id, id)[1]
  return entry and entry[2]
end

-- id, key and payload of a value.
local function parts(value)
  local entry = entry_at(value)
  if not entry then return nil end
  return split(entry[2])
end

-- What is told of values, where they are not taken.
local function tell(values, out, at)
  for i = 1, #values do
    local entry = entry_at(values[i])
    if entry then
      at = at + 1
      tell_one(out, at, entry_of(values[i]), stored_of(values[i]), entry)
    end
  end
  return at
end

-- Whether all that is leased or comes again is pending for the group, and the other way round: so it is
-- unless somebody took an entry off by hand. Looked at by look_whole() before a script changes anything;
-- a script that does not look cuts nothing off.
local whole = false
local function look_whole()
  local pending, held = 0, call('HLEN', BACK)
  for shard = 0, tonumber(call('HGET', META, 'shards') or 0) - 1 do
    local summary = of_group('XPENDING', P .. shard, GROUP)
    if not summary then return end
    pending = pending + summary[1]
  end
  for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    held = held + call('HLEN', P .. 'lease:' .. name)
  end
  whole = pending == held
end

-- Events that are acked or buried: nothing is left of these entries of a shard, which ascend. Where no
-- earlier one is held, they are all that there is up to the last of them, and cut off: XDEL searches its
-- node for each.
local function forget(shard, ids, n)
  if n == 0 then return end
  local key, last = P .. shard, ids[n]
  for from = 1, n, CHUNK do call('XACK', key, GROUP, unpack(ids, from, math.min(from + CHUNK - 1, n))) end
  local oldest = whole and call('XPENDING', key, GROUP)[2]
  if whole and not (oldest and oldest < last) then
    call('XTRIM', key, 'MINID', sub(last, 1, 14) .. format('%d', tonumber(sub(last, 15)) + 1))
    return
  end
  for from = 1, n, CHUNK do call('XDEL', key, unpack(ids, from, math.min(from + CHUNK - 1, n))) end
end

local function by_shard(values, n)
  local groups = {}
  for i = 1, n do
    local shard = shard_of(values[i])
    local ids = groups[shard]
    if not ids then
      ids = { n = 0 }
      groups[shard] = ids
    end
    ids.n = ids.n + 1
    ids[ids.n] = entry_of(values[i])
  end
  return groups
end

-- Values that nobody leases any more.
local function parked(values, n)
  for shard, ids in pairs(by_shard(values, n)) do
    for from = 1, ids.n, CHUNK do
      local args = { unpack(ids, from, math.min(from + CHUNK - 1, ids.n)) }
      args[#args + 1] = 'JUSTID'
      of_group('XCLAIM', P .. shard, GROUP, PARKED, 0, unpack(args))
    end
  end
end

-- Deleting a consumer drops what is pending for it, so only one that holds nothing is deleted.
local function retire(member, shard)
  local pending = of_group('XPENDING', P .. shard, GROUP, '-', '+', 1, member)
  if pending and #pending == 0 then
    call('XGROUP', 'DELCONSUMER', P .. shard, GROUP, member)
  end
end

-- How many fresh ones there are, as far as the group knows.
local function fresh_count(shard)
  local pending = of_group('XPENDING', P .. shard, GROUP) or { 0 }
  return math.max(0, call('XLEN', P .. shard) - pending[1])
end

-- The accepted ms of the oldest fresh one, or nil.
local function fresh_oldest(shard)
  local items = peek(shard, 1)
  if not items[1] then return nil end
  return tonumber(items[1][2][4] or sub(items[1][1], 1, 13))
end

-- From which entry on those from this seq on are, as peek() takes it. Entry ids ascend in ms as in seq,
-- so halving the ms finds it.
local function fresh_skip(shard, seq)
  local first = peek(shard, 1)[1]
  if not first or tonumber(sub(first[1], 15)) >= seq then return nil end
  local newest = call('XREVRANGE', P .. shard, '+', '-', 'COUNT', 1)[1]
  -- The highest ms from which on the first entry is still too low.
  local low, high = tonumber(sub(first[1], 1, 13)), tonumber(sub(newest[1], 1, 13))
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    local entry = call('XRANGE', P .. shard, format('%d', middle), '+', 'COUNT', 1)[1]
    if tonumber(sub(entry[1], 15)) < seq then low = middle else high = middle - 1 end
  end
  return format('%d-%d', low, seq)
end

-- What is told of one that was peeked.
local function tell_fresh(shard, items, i, out, at)
  local entry_id, entry = items[i][1], items[i][2]
  tell_one(out, at, entry_id, stored_fresh(shard)(entry_id, entry), entry)
end

-- What would be told of an event that is not routed yet.
local function tell_unrouted(out, at, seq, ms, accepted, tail)
  tell_one(out, at, format('%013d-%d', ms, seq),
    format('%013d00000', accepted) .. sub(tail, 1, 3) .. format('%013d', ms), { 'v', tail })
end

-- Offers are routed at once.
local function make_block() end
local function blocks() end
local function blocks_oldest() return nil end
local function route_blocks(limit, room, direct, out, fields, at) return at end
