-- To the dead letters. ARGV: 2 member, 3 dead_max, then for each event: token, item, reason.
-- Replies with how many were buried.
local member, dead_max = ARGV[2], tonumber(ARGV[3])
local found, seen = {}, {}
for i = 4, #ARGV, 3 do
  local item = ARGV[i + 1]
  local seq = sub(item, 1, 16)
  if not seen[seq] then
    local value = value_of_one(lease_key(member, ARGV[i]), seq)
    local leases = value and tonumber(sub(value, 30, 34)) + 1
    local late = false
    if not value then
      value = value_of_one(BACK, seq)
      late = true
      if value and sub(value, 30, 34) ~= sub(item, 17, 21) then value = nil end
      leases = value and tonumber(sub(value, 30, 34))
    end
    if value then
      local id, key, payload = parts(value)
      if id then
        seen[seq] = true
        found[#found + 1] = { ARGV[i], item, value, late, leases, id, key, payload, ARGV[i + 2] }
      end
    end
  end
end
if call('XLEN', DEAD) + #found > dead_max then return fail('FULL') end
drains()
for _, one in ipairs(found) do
  local token, item, value, late = one[1], one[2], one[3], one[4]
  call('XADD', DEAD, format('%d-0', call('HINCRBY', META, 'dead', 1)), 'i', one[6], 'k', one[7],
    'p', one[8], 'a', tonumber(sub(value, 17, 29)), 't', one[5], 'b', now, 'r', one[9])
  if late then
    take_back(item)
  else
    local key = lease_key(member, token)
    call('HDEL', key, sub(item, 1, 16))
    if call('EXISTS', key) == 0 then call('ZREM', LEASES, member .. ':' .. token) end
  end
  forget(shard_of(value), { name_of(value) }, 1)
end
if #found > 0 then call('HINCRBY', META, 'held', -#found) end
return #found
