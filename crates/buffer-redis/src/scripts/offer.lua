-- Holds a batch, or refuses it whole. ARGV: 2 events_max, 3 the shard of each event as a byte, then
-- each event: for lists the value from its shard on; for streams id, key, payload.
local shards = ARGV[3]
local n = #shards
local meta = call('HMGET', META, 'held', 'ms', 'format')
if not meta[3] then return fail('LOST') end
if meta[1] + n > tonumber(ARGV[2]) then return fail('FULL') end
local base = call('HINCRBY', META, 'seq', n) - n
local ms = accept_ms(meta[2])
if GROUP == '' then
  local middle = format('%013d00000', ms)
  local batches = {}
  for i = 1, n do
    local shard = byte(shards, i)
    local batch = batches[shard]
    if not batch then
      batch = { n = 0 }
      batches[shard] = batch
    end
    local at = batch.n + 1
    batch.n = at
    batch[at] = format('%d', base + i) .. middle .. ARGV[i + 3]
  end
  for shard, batch in pairs(batches) do each_chunk('LPUSH', P .. shard, batch, batch.n) end
else
  local prefix = format('%d-', ms)
  for i = 1, n do
    local at = 3 * i + 1
    call('XADD', P .. byte(shards, i), prefix .. format('%d', base + i),
      'i', ARGV[at], 'k', ARGV[at + 1], 'p', ARGV[at + 2])
  end
end
call('HINCRBY', META, 'held', n)
return n
