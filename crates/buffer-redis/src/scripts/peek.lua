-- Held events from a seq on, lowest first, without touching them. ARGV: 2 from, 3 max, 4 shards, 5 id
-- field, 6 key field, 7 stream field. Replies with flags (1: leased) and values as a claim does.
-- The buffer's own number of shards, whatever the one who looks was told.
local shards = tonumber(call('HGET', META, 'shards') or ARGV[4])
local from, max = FIRST + ARGV[2], tonumber(ARGV[3])
local found = {}
local function consider(seq, leased, key)
  local number = tonumber(seq)
  if number >= from then found[#found + 1] = { number, leased, key, seq } end
end
for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  local key = P .. 'lease:' .. name
  local leased = call('ZSCORE', LEASES, name) - now > 0 and 1 or 0
  for _, seq in ipairs(call('HKEYS', key)) do consider(seq, leased, key) end
end
for _, seq in ipairs(call('HKEYS', BACK)) do consider(seq, 0, BACK) end
for shard = 0, shards - 1 do
  local items, count = peek(shard, max, fresh_skip(shard, from))
  for i = 1, count do
    local seq = seq_at(items, i)
    if seq >= from then found[#found + 1] = { seq, 0, nil, nil, shard, items, i } end
  end
end
table.sort(found, function(a, b) return a[1] < b[1] end)
local flags, out, at = {}, {}, 0
for _, one in ipairs(found) do
  if at >= max then break end
  local before = at
  if one[3] then
    at = tell({ value_of_one(one[3], one[4]) }, out, at)
  else
    at = at + 1
    tell_fresh(one[5], one[6], one[7], out, at)
  end
  if at > before then flags[at] = one[2] end
end
-- What is not routed yet has the seq it would get now.
local last = tonumber(call('HGET', META, 'seq') or FIRST)
local ms = math.max(now, tonumber(call('HGET', META, 'ms') or 0))
blocks(function(accepted, key)
  if at >= max then return true end
  local n = call('LLEN', key)
  local past = math.min(n, math.max(0, from - last - 1))
  local tails = past < n and call('LRANGE', key, 0 - math.min(n, past + max - at), -1 - past) or {}
  for i = #tails, 1, -1 do
    at = at + 1
    tell_unrouted(out, at, last + past + 1 + #tails - i, ms, accepted, tails[i])
    flags[at] = 0
  end
  last = last + n
end)
local skipped = math.max(0, from - last - 1)
if at < max then
  for i, item in ipairs(source_head(max - at, skipped, ARGV[7])) do
    local id, key = identify(item[1], ARGV[5], ARGV[6])
    local shard = shard_for(key == '' and id or key, shards)
    at = at + 1
    tell_unrouted(out, at, last + skipped + i, ms, math.min(item[2] or ms, ms),
      tail_of(shard, id, key, sub(item[1], 1, PAYLOAD_MAX)))
    flags[at] = 0
  end
end
return { flags, out }
