-- Who holds what. ARGV: 2 shards. Replies with now, how many are not routed, the backlog by shard, and
-- for each member: name, deadline, leases, events, shards.
-- The buffer's own number of shards, whatever the one who looks was told.
local shards = tonumber(call('HGET', META, 'shards') or ARGV[2])
local backlog, by_member = {}, {}
for shard = 0, shards - 1 do
  local fresh = call('EXISTS', P .. shard) == 1 and fresh_count(shard) or 0
  backlog[shard + 1] = fresh + call('ZCARD', P .. 'again:' .. shard)
end
for _, seq in ipairs(call('ZRANGE', LATER, 0, -1)) do
  local value = value_of_one(BACK, seq)
  if value then
    local at = shard_of(value) + 1
    backlog[at] = (backlog[at] or 0) + 1
  end
end
local names = call('ZRANGE', MEMBERS, 0, -1, 'WITHSCORES')
for i = 1, #names, 2 do by_member[names[i]] = { names[i], names[i + 1], 0, 0, {} } end
local owners = call('HGETALL', SHARDS)
for i = 1, #owners, 2 do
  local one = by_member[owners[i + 1]]
  if one then one[5][#one[5] + 1] = tonumber(owners[i]) end
end
for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  local one = by_member[string.match(name, '^(.*):')]
  if one then
    one[3] = one[3] + 1
    one[4] = one[4] + call('HLEN', P .. 'lease:' .. name)
  end
end
local members = {}
for i = 1, #names, 2 do
  local one = by_member[names[i]]
  table.sort(one[5])
  members[#members + 1] = one
end
local unrouted = source_length()
for _, block in ipairs(blocks()) do unrouted = unrouted + call('LLEN', block[2]) end
return { now, unrouted, backlog, members }
