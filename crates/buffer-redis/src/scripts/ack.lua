-- Done for good. ARGV: 2 member, then for each lease: token, n, how many groups, and for each group of its
-- events: shard, leases 5, how many, and their names, ascending. n < 0 is the whole lease, if it holds -n
-- events; of a list none of them is named then. Replies with how many were acked, and the tokens of
-- whole leases that are gone, or hold another number.
drains()
look_whole()
local member, done, gone = ARGV[2], 0, {}
local i = 3

-- The next group: shard, leases, names, how many.
local function group()
  local shard, leases, n, names = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), {}
  i = i + 3
  for j = 1, n do names[j] = ARGV[i + j - 1] end
  i = i + n
  return shard, leases, names, n
end

-- Those of a group that are in the lease, or whose lease expired, as long as nobody has them again.
local function ack_some(key, shard, leases, names, n)
  local seqs, there = {}, {}
  for j = 1, n do seqs[j] = seq_of(names[j]) end
  if GROUP ~= '' then
    for j, stored in ipairs(stored_in(key, seqs, n)) do
      if stored then there[#there + 1] = names[j] end
    end
    forget(shard, there, #there)
  end
  local acked = each_chunk('HDEL', key, seqs, n)
  for j = 1, acked < n and n or 0 do
    local value = take_back(seqs[j] .. leases)
    if value then
      forget(shard, { names[j] }, 1)
      acked = acked + 1
    end
  end
  return acked
end

while ARGV[i] do
  local token, n, groups = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local key = lease_key(member, token)
  i = i + 3
  local held = n < 0 and call('HLEN', key)
  if held and held ~= 0 - n then
    gone[#gone + 1] = token
    for _ = 1, groups do group() end
  elseif held then
    for _ = 1, groups do
      local shard, _, names, count = group()
      forget(shard, names, count)
    end
    call('UNLINK', key)
    call('ZREM', LEASES, member .. ':' .. token)
    done = done + held
  else
    for _ = 1, groups do done = done + ack_some(key, group()) end
    if call('EXISTS', key) == 0 then call('ZREM', LEASES, member .. ':' .. token) end
  end
end
if done > 0 then call('HINCRBY', META, 'held', -done) end
return { done, gone }
