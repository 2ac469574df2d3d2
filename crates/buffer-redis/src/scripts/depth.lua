-- How much is held. ARGV: 2 shards. Replies with ready, leased, dead, oldest accepted ms (-1: none).
local held = tonumber(call('HGET', META, 'held') or 0)
local leased, lowest, lowest_key, oldest = 0, nil, nil, nil
local function consider(ms)
  if ms and (not oldest or ms < oldest) then oldest = ms end
end
local leases = call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local key = P .. 'lease:' .. leases[i]
  local seqs = call('HKEYS', key)
  if tonumber(leases[i + 1]) > now then leased = leased + #seqs end
  for j = 1, #seqs do
    if not lowest or seqs[j] < lowest then lowest, lowest_key = seqs[j], key end
  end
end
if lowest then consider(tonumber(sub(value_of_one(lowest_key, lowest), 17, 29))) end
local back = nil
for _, seq in ipairs(call('ZRANGE', LATER, 0, -1)) do
  if not back or seq < back then back = seq end
end
for shard = 0, tonumber(call('HGET', META, 'shards') or ARGV[2]) - 1 do
  consider(fresh_oldest(shard))
  local first = call('ZRANGE', P .. 'again:' .. shard, 0, 0)[1]
  if first and (not back or first < back) then back = first end
end
if back then
  local value = value_of_one(BACK, back)
  if value then consider(tonumber(sub(value, 17, 29))) end
end
consider(blocks_oldest())
local source = source_length()
if source > 0 and GROUP ~= '' then consider(source_head(1, 0, '')[1][2]) end
return { held - leased + source, leased, call('XLEN', DEAD), oldest or -1 }
