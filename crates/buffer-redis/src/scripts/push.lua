-- How events get a number and a place. Follows the layout.

-- The shard of a key (of the id, where there is no key); as in frame.rs.
local function shard_for(text, shards)
  local h = 5381
  for i = 1, #text do h = (h * 131 + byte(text, i)) % 4294967291 end
  return h % shards
end

-- The time of acceptance: the server's, which never goes back in this buffer.
local function accept_ms(last)
  local ms = tonumber(last)
  if ms < now then
    call('HSET', META, 'ms', now)
    return now
  end
  return ms
end

local BATCH, BATCHES = {}, {}

-- Adds one event to what flush() pushes.
local function push(shard, seq, ms, accepted, id, key, payload)
  if GROUP ~= '' then
    local entry = format('%d-%d', ms, seq)
    local tail = tail_of(shard, id, key, payload)
    if accepted == ms then
      call('XADD', P .. shard, entry, 'v', tail)
    else
      call('XADD', P .. shard, entry, 'v', tail, 'a', format('%d', accepted))
    end
    return
  end
  local batch = BATCHES[shard]
  if not batch then
    batch = { n = 0 }
    BATCHES[shard] = batch
  end
  batch.n = batch.n + 1
  batch[batch.n] = format('%016d%013d00000', seq, accepted) .. tail_of(shard, id, key, payload)
end

local function flush()
  for shard, batch in pairs(BATCHES) do each_chunk('LPUSH', P .. shard, batch, batch.n) end
  BATCHES = {}
end
