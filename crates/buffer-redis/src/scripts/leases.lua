-- What becomes of leases that end without an ack. Follows the layout.

-- A Redis out of memory refuses what may grow, but only as a script's first write: it can't stop in the
-- middle. What drains the buffer must go on, so its first write is one that never grows: it clears the
-- stage, on which something lies only if an offer's transaction was cut short.
local function drains() call('UNLINK', STAGE) end

-- The values of these seqs in a hash, false where there is none.
local function values_of(key, seqs, n)
  local values = stored_in(key, seqs, n)
  for i = 1, n do values[i] = values[i] and value_of(seqs[i], values[i]) end
  return values
end

local function value_of_one(key, seq)
  local stored = call('HGET', key, seq)
  return stored and value_of(seq, stored)
end

-- All values of a lease.
local function values_in(key)
  local pairs_, values = call('HGETALL', key), {}
  for i = 1, #pairs_, 2 do values[#values + 1] = value_of(pairs_[i], pairs_[i + 1]) end
  return values
end

local function lease_key(member, token) return P .. 'lease:' .. member .. ':' .. token end

-- Puts values back, one lease older, to come again now or when `due`.
local function put_back(values, n, due)
  local pairs_, ready, delayed = {}, {}, {}
  for i = 1, n do
    local value = values[i]
    local leases = math.min(tonumber(sub(value, 30, 34)) + 1, 99999)
    local seq = sub(value, 1, 16)
    pairs_[2 * i - 1] = seq
    pairs_[2 * i] = stored_of(sub(value, 1, 29) .. format('%05d', leases) .. sub(value, 35))
    if due then
      delayed[2 * i - 1], delayed[2 * i] = due, seq
    else
      local shard = shard_of(value)
      local into = ready[shard]
      if not into then
        into = { n = 0 }
        ready[shard] = into
      end
      into[into.n + 1], into[into.n + 2] = tonumber(seq), seq
      into.n = into.n + 2
    end
  end
  each_chunk('HSET', BACK, pairs_, 2 * n)
  if due then each_chunk('ZADD', LATER, delayed, 2 * n) end
  for shard, into in pairs(ready) do each_chunk('ZADD', P .. 'again:' .. shard, into, into.n) end
  parked(values, n)
end

-- Ends the lease `name` (member:token). Returns how many events it held.
local function end_lease(name)
  local key = P .. 'lease:' .. name
  local values = values_in(key)
  put_back(values, #values, nil)
  call('UNLINK', key)
  call('ZREM', LEASES, name)
  return #values, values
end

-- Takes a value out of what comes again, if it has been leased as often as `item` (seq 16, leases 5) says: then nobody
-- has leased it since, and its last lease may still act on it.
local function take_back(item)
  local seq = sub(item, 1, 16)
  local value = value_of_one(BACK, seq)
  if not value or sub(value, 30, 34) ~= sub(item, 17, 21) then return nil end
  call('HDEL', BACK, seq)
  if call('ZREM', P .. 'again:' .. shard_of(value), seq) == 0 then call('ZREM', LATER, seq) end
  return value
end

-- Leases of those who are no longer members end.
local function end_orphans()
  local alive = {}
  local ended = 0
  for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    local member = string.match(name, '^(.*):')
    if alive[member] == nil then alive[member] = call('ZSCORE', MEMBERS, member) and true or false end
    if not alive[member] then
      local count, values = end_lease(name)
      ended = ended + count
      local seen = {}
      for i = 1, count do
        local shard = shard_of(values[i])
        if not seen[shard] then
          seen[shard] = true
          retire(member, shard)
        end
      end
    end
  end
  return ended
end
