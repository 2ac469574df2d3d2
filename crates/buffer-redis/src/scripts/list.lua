-- Storage as lists. A value is the head, the lengths of id and key (2 digits each), id, key, payload.
-- The oldest is at the right.

local function prepare() end

-- The next `n` fresh ones of a shard, oldest first: their seqs as numbers, and what take() needs.
local function peek(shard, n, offset)
  offset = offset or 0
  local items = call('LRANGE', P .. shard, -n - offset, -1 - offset)
  local count, values = #items, {}
  for i = 1, count do values[i] = items[count + 1 - i] end
  return values, count
end

local function seq_at(values, i) return tonumber(sub(values[i], 1, 16)) end

-- Takes the first `count` of what was peeked; puts values into `out` and `fields`.
local function take(shard, values, count, member, out, fields, at)
  for i = 1, count do
    local value = values[i]
    fields[2 * (at + i) - 1] = sub(value, 1, 16)
    fields[2 * (at + i)] = value
    out[at + i] = value
  end
  call('LTRIM', P .. shard, 0, -count - 1)
  return at + count
end

-- The same for those that come again, whose values are given.
local take_again = function(shard, values, count, member, out, fields, at)
  for i = 1, count do
    local value = values[i]
    fields[2 * (at + i) - 1] = sub(value, 1, 16)
    fields[2 * (at + i)] = value
    out[at + i] = value
  end
  return at + count
end

-- A lease that is told of once more.
local function tell(values, out)
  for i = 1, #values do out[i] = values[i] end
end

-- Events that were forgotten (acked or buried): nothing is left of them elsewhere.
local function forget(values, n) end

-- Values that nobody leases any more.
local function parked(values, n) end

local function retire(member, shard) end

-- id, key, payload of a value.
local function parts(value)
  local id_len, key_len = tonumber(sub(value, 38, 39)), tonumber(sub(value, 40, 41))
  return sub(value, 42, 41 + id_len), sub(value, 42 + id_len, 41 + id_len + key_len),
    sub(value, 42 + id_len + key_len)
end

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
    if tonumber(sub(call('LINDEX', key, -1 - middle), 1, 16)) < seq then low = middle + 1 else high = middle end
  end
  return low
end
