-- Storage as lists. A value is the head, the lengths of id and key (2 digits each), id, key, payload,
-- and is stored as it is. The oldest is at the right.

local function value_of(seq, stored) return stored end
local function stored_of(value) return value end

local function prepare() end

-- The next `n` fresh ones of a shard, oldest first, past `skip`.
local function peek(shard, n, skip)
  skip = skip or 0
  local items = call('LRANGE', P .. shard, -n - skip, -1 - skip)
  local count, values = #items, {}
  for i = 1, count do values[i] = items[count + 1 - i] end
  return values, count
end

local function seq_at(values, i) return tonumber(sub(values[i], 1, 16)) end

-- Those that come again, whose values are given: what is told of them goes to `out`, what the lease
-- stores to `fields`.
local function take_again(shard, values, count, member, out, fields, at)
  for i = 1, count do
    local value = values[i]
    at = at + 1
    fields[2 * at - 1], fields[2 * at] = sub(value, 1, 16), value
    out[at] = value
  end
  return at
end

-- Takes the first `count` of what was peeked.
local function take(shard, values, count, member, out, fields, at)
  call('LTRIM', P .. shard, 0, -count - 1)
  return take_again(shard, values, count, member, out, fields, at)
end

-- id, key and payload of a value.
local function parts(value)
  local id_len, key_len = tonumber(sub(value, 38, 39)), tonumber(sub(value, 40, 41))
  return sub(value, 42, 41 + id_len), sub(value, 42 + id_len, 41 + id_len + key_len),
    sub(value, 42 + id_len + key_len)
end

-- What is told of values, where they are not taken.
local function tell(values, out, at)
  for i = 1, #values do out[at + i] = values[i] end
  return at + #values
end

-- Nothing of an event is anywhere else.
local function forget() end
local function parked() end
local function retire() end

local function fresh_count(shard) return call('LLEN', P .. shard) end

-- The accepted ms of the oldest fresh one, or nil.
local function fresh_oldest(shard)
  local value = call('LINDEX', P .. shard, -1)
  return value and tonumber(sub(value, 17, 29))
end

-- How many fresh ones of a shard come before this seq. They ascend, so halving finds it.
local function fresh_skip(shard, seq)
  local key, low, high = P .. shard, 0, call('LLEN', P .. shard)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local value = call('LINDEX', key, -1 - middle)
    if tonumber(sub(value, 1, 16)) < seq then low = middle + 1 else high = middle end
  end
  return low
end

-- What is told of one that was peeked.
local function tell_fresh(shard, values, i, out, at) out[at] = values[i] end

-- What would be told of a foreign event.
local function tell_foreign(out, at, seq, ms, accepted, shard, id, key, payload)
  out[at] = format('%016d%013d00000%03d%02d%02d', seq, accepted, shard, #id, #key) .. id .. key .. payload
end
