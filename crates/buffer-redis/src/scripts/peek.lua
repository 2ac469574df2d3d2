-- Held events from a seq on, lowest first, without touching them. ARGV: 2 from, 3 max, 4 shards, 5 id
-- field, 6 key field, 7 stream field. Replies with flags (1: leased) and values as a claim does.
local from, max, shards = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
local function consider(seq, leased, get)
  if seq >= from then found[#found + 1] = { seq, leased, get } end
end
for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  local key = P .. 'lease:' .. name
  local leased = call('ZSCORE', LEASES, name) - now > 0 and 1 or 0
  for _, seq in ipairs(call('HKEYS', key)) do
    consider(tonumber(seq), leased, function() return call('HGET', key, seq) end)
  end
end
for _, seq in ipairs(call('HKEYS', BACK)) do
  consider(tonumber(seq), 0, function() return call('HGET', BACK, seq) end)
end
local fresh = {}
for shard = 0, shards - 1 do
  local skipped = fresh_skip(shard, from)
  local items, count = peek(shard, max, skipped)
  for i = 1, count do
    local seq = seq_at(items, i)
    if seq >= from then found[#found + 1] = { seq, 0, nil, items, i, shard } end
  end
end
local last = tonumber(call('HGET', META, 'seq') or 0)
local offset = math.max(0, from - last - 1)
table.sort(found, function(a, b) return a[1] < b[1] end)
local flags, out, at = {}, {}, 0
for _, one in ipairs(found) do
  if #flags >= max then break end
  if one[4] then
    if GROUP == '' then
      out[at + 1] = one[4][one[5]]
      at = at + 1
    else
      put(one[4][one[5]][1], one[4][one[5]][2], one[1], 0, one[6], out, {}, #flags + 1)
      at = at + 4
    end
    flags[#flags + 1] = 0
  else
    local value = one[3]()
    local told = {}
    tell({ value }, told)
    for i = 1, #told do out[at + i] = told[i] end
    at = at + #told
    if #told > 0 then flags[#flags + 1] = one[2] end
  end
end
-- Foreign events have the seq they would get now.
if #flags < max then
  local ms = math.max(now, tonumber(call('HGET', META, 'ms') or 0))
  for i, item in ipairs(source_head(max - #flags, offset, ARGV[7])) do
    local raw = item[1]
    local id, key = identify(raw, ARGV[5], ARGV[6])
    local head = format('%016d%013d00000%03d', last + offset + i, math.min(item[2] or ms, ms),
      shard_for(key == '' and id or key, shards))
    raw = sub(raw, 1, PAYLOAD_MAX)
    if GROUP == '' then
      out[at + 1] = head .. format('%02d%02d', #id, #key) .. id .. key .. raw
      at = at + 1
    else
      out[at + 1], out[at + 2], out[at + 3], out[at + 4] = head .. item[3], id, key, raw
      at = at + 4
    end
    flags[#flags + 1] = 0
  end
end
return { flags, out }
