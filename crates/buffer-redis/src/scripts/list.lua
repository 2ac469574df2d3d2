-- Storage as lists. A value is the head without its shard, and the tail; it is stored as it is. The
-- oldest is at the right.
local MERGE_MAX, BLOCKS_AT_ONCE = 10, 1000

local function value_of(seq, stored) return stored end
local function stored_of(value) return value end
-- Acks name an event by its seq.
local function name_of(value) return sub(value, 1, 16) end
local function seq_of(name) return name end

local function prepare() end
local function has_group() return true end

-- The next `n` fresh ones of a shard, oldest first, past `skip`.
local function peek(shard, n, skip)
  skip = skip or 0
  local items = call('LRANGE', P .. shard, -n - skip, -1 - skip)
  local count, values = #items, {}
  for i = 1, count do values[i] = items[count + 1 - i] end
  return values, count
end

local function seq_at(values, i) return tonumber(sub(values[i], 1, 16)) end

-- Takes those that come again, whose values are given: what is told of them goes to `out`, what the lease
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

-- Takes fresh ones of these shards until the lease has `max`: the lowest over all of them, as claim.lua's
-- lowest() finds them.
local function take_fresh(shards, max, member, out, fields, at, lowest)
  return lowest(shards, max, at, peek, seq_at, function(shard, values, count, so_far)
    call('LTRIM', P .. shard, 0, -count - 1)
    return take_again(shard, values, count, member, out, fields, so_far)
  end)
end

-- id, key and payload of a value.
local function parts(value) return split(sub(value, 35)) end

-- What is told of values, where they are not taken.
local function tell(values, out, at)
  for i = 1, #values do out[at + i] = values[i] end
  return at + #values
end

-- Nothing of an event is anywhere else, so that there is nothing to look at or to clear away.
local function look_whole() end
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

-- What would be told of an event that is not routed yet.
local function tell_unrouted(out, at, seq, ms, accepted, tail)
  out[at] = format('%016d%013d00000', seq, accepted) .. tail
end

local function block_of(name)
  local ms, number = string.match(name, '^(%d+):(%d+)$')
  return ms, BLOCK .. number
end

-- Makes what is on the stage a block. A few go into the newest one, if they were accepted at the same time:
-- each block is a key, and those who look have to pass all of them.
local function make_block(n, ms)
  local newest = call('LINDEX', INBOX, 0)
  if n <= MERGE_MAX and newest then
    local its_ms, key = block_of(newest)
    if tonumber(its_ms) == ms then
      for _ = 1, n do call('LMOVE', STAGE, key, 'RIGHT', 'LEFT') end
      return
    end
  end
  local number = call('HINCRBY', META, 'block', 1)
  call('RENAME', STAGE, BLOCK .. number)
  call('LPUSH', INBOX, format('%d:%d', ms, number))
end

-- Shows each block to `look` (accepted ms, key), oldest first, until it says that it has seen enough.
local function blocks(look)
  local from = -1
  while true do
    local names = call('LRANGE', INBOX, from - BLOCKS_AT_ONCE + 1, from)
    for i = #names, 1, -1 do
      local ms, key = block_of(names[i])
      if look(tonumber(ms), key) then return end
    end
    if #names < BLOCKS_AT_ONCE then return end
    from = from - BLOCKS_AT_ONCE
  end
end

-- The accepted ms of the oldest event of a block, or nil.
local function blocks_oldest()
  local name = call('LINDEX', INBOX, -1)
  return name and tonumber(string.match(name, '^%d+'))
end

-- Gives the oldest `limit` events of blocks their numbers, and puts them where their shards are. Up to
-- `room` of shards in `direct` are taken at once instead: they need not be written twice more.
local function route_blocks(limit, room, direct, out, fields, at)
  local batches, full = {}, at + room
  while limit > 0 do
    local name = call('LINDEX', INBOX, -1)
    if not name then break end
    local ms, key = block_of(name)
    local middle = format('%013d00000', ms)
    local tails = call('LRANGE', key, -limit, -1)
    local n = #tails
    local next_ = call('HINCRBY', META, 'seq', n) + 1
    for i = n, 1, -1 do
      local tail = tails[i]
      local shard, seq = sub(tail, 1, 3), format('%d', next_ - i)
      local value = seq .. middle .. tail
      if at < full and direct[shard] then
        at = at + 1
        fields[2 * at - 1], fields[2 * at] = seq, value
        out[at] = value
      else
        local batch = batches[shard]
        if not batch then
          batch = { n = 0 }
          batches[shard] = batch
        end
        batch.n = batch.n + 1
        batch[batch.n] = value
      end
    end
    call('LTRIM', key, 0, -n - 1)
    if call('EXISTS', key) == 0 then call('RPOP', INBOX) end
    limit = limit - n
  end
  for shard, batch in pairs(batches) do
    each_chunk('LPUSH', P .. tonumber(shard), batch, batch.n)
  end
  return at
end
