-- Storage as streams. Fresh events lie past the group's last delivered id; a value is the head and the
-- entry id, `<ms>-<seq>`; id, key and payload are the entry's fields i, k and p (and a, the accepted
-- ms, where it is not the id's). Leased ones are pending for their member, the others that were
-- leased before for the consumer PARKED.
local PARKED = '-parked-'
local LAST = P .. 'last'

local function prepare(shards)
  for shard = 0, shards - 1 do
    local made = redis.pcall('XGROUP', 'CREATE', P .. shard, GROUP, '0', 'MKSTREAM')
    if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
      return made.err
    end
  end
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
    ids[ids.n] = sub(values[i], 38)
  end
  return groups
end

local function peek(shard, n, after)
  if not after then
    local last = call('HGET', LAST, shard)
    after = last and '(' .. last or '-'
  end
  local items = call('XRANGE', P .. shard, after, '+', 'COUNT', n)
  return items, #items
end

local function seq_at(items, i) return tonumber(string.match(items[i][1], '%-(%d+)$')) end

-- id, key, payload, accepted ms of an entry's fields.
local function fields_of(entry_id, fields)
  local accepted = fields[8] or string.match(entry_id, '^(%d+)')
  return fields[2], fields[4], fields[6], accepted
end

local function put(entry_id, fields, seq, leases, shard, out, pairs_, at)
  local id, key, payload, accepted = fields_of(entry_id, fields)
  local value = format('%016d%013d%05d%03d', seq, accepted, leases, shard) .. entry_id
  pairs_[2 * at - 1] = sub(value, 1, 16)
  pairs_[2 * at] = value
  local o = 4 * at
  out[o - 3], out[o - 2], out[o - 1], out[o] = value, id, key, payload
end

local function take(shard, items, count, member, out, fields, at)
  call('XREADGROUP', 'GROUP', GROUP, member, 'COUNT', count, 'STREAMS', P .. shard, '>')
  for i = 1, count do
    put(items[i][1], items[i][2], seq_at(items, i), 0, shard, out, fields, at + i)
  end
  call('HSET', LAST, shard, items[count][1])
  return at + count
end

local function take_again(shard, values, count, member, out, fields, at)
  local ids = {}
  for i = 1, count do ids[i] = sub(values[i], 38) end
  local came = {}
  for from = 1, count, CHUNK do
    local entries = call('XCLAIM', P .. shard, GROUP, member, 0,
      unpack(ids, from, math.min(from + CHUNK - 1, count)))
    for i = 1, #entries do
      if entries[i] then came[entries[i][1]] = entries[i][2] end
    end
  end
  for i = 1, count do
    local entry = came[ids[i]]
    if entry then
      at = at + 1
      local value = values[i]
      local id, key, payload = fields_of(ids[i], entry)
      fields[2 * at - 1] = sub(value, 1, 16)
      fields[2 * at] = value
      local o = 4 * at
      out[o - 3], out[o - 2], out[o - 1], out[o] = value, id, key, payload
    else
      -- Somebody deleted it by hand: it is no longer held.
      call('HINCRBY', META, 'held', -1)
    end
  end
  return at
end

local function parts(value)
  local entry = call('XRANGE', P .. shard_of(value), sub(value, 38), sub(value, 38))[1]
  if not entry then return nil end
  return fields_of(entry[1], entry[2])
end

local function tell(values, out)
  local at = 0
  for i = 1, #values do
    local id, key, payload = parts(values[i])
    if id then
      out[at + 1], out[at + 2], out[at + 3], out[at + 4] = values[i], id, key, payload
      at = at + 4
    end
  end
end

local function forget(values, n)
  for shard, ids in pairs(by_shard(values, n)) do
    for from = 1, ids.n, CHUNK do
      local to = math.min(from + CHUNK - 1, ids.n)
      call('XACK', P .. shard, GROUP, unpack(ids, from, to))
      call('XDEL', P .. shard, unpack(ids, from, to))
    end
  end
end

local function parked(values, n)
  for shard, ids in pairs(by_shard(values, n)) do
    for from = 1, ids.n, CHUNK do
      local args = { unpack(ids, from, math.min(from + CHUNK - 1, ids.n)) }
      args[#args + 1] = 'JUSTID'
      call('XCLAIM', P .. shard, GROUP, PARKED, 0, unpack(args))
    end
  end
end

-- Deleting a consumer drops what is pending for it, so only one that holds nothing is deleted.
local function retire(member, shard)
  if #call('XPENDING', P .. shard, GROUP, '-', '+', 1, member) == 0 then
    call('XGROUP', 'DELCONSUMER', P .. shard, GROUP, member)
  end
end

local function fresh_count(shard)
  return call('XLEN', P .. shard) - call('XPENDING', P .. shard, GROUP)[1]
end

local function fresh_oldest(shard)
  local items = peek(shard, 1)
  if not items[1] then return nil end
  local _, _, _, accepted = fields_of(items[1][1], items[1][2])
  return tonumber(accepted)
end

-- After which entry those from this seq on begin. Entry ids ascend as seqs do, but their times are not
-- known, so pages are read past.
local function fresh_skip(shard, seq)
  local after
  while true do
    local items, count = peek(shard, 500, after)
    if count == 0 then return after end
    for i = 1, count do
      if seq_at(items, i) >= seq then return after end
      after = '(' .. items[i][1]
    end
  end
end
