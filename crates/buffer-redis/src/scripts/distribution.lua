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
-- Whatever is neither under a lease nor in a shard's backlog is in a block.
local unrouted = tonumber(call('HGET', META, 'held') or 0)
for _, name in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  local one, events = by_member[string.match(name, '^(.*):')], call('HLEN', P .. 'lease:' .. name)
  unrouted = unrouted - events
  if one then
    one[3] = one[3] + 1
    one[4] = one[4] + events
  end
end
for _, events in pairs(backlog) do unrouted = unrouted - events end
unrouted = (GROUP == '' and math.max(0, unrouted) or 0) + source_length()
local members = {}
for i = 1, #names, 2 do
  local one = by_member[names[i]]
  table.sort(one[5])
  members[#members + 1] = one
end
return { now, unrouted, backlog, members }
