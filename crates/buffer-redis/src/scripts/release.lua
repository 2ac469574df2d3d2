-- Back, to come again after a delay. ARGV: 2 member, 3 delay ms, then for each lease: token, n, n items.
-- Replies with how many were released.
drains()
local member, delay = ARGV[2], tonumber(ARGV[3])
local due = delay > 0 and now + delay or nil
local done, i = 0, 4
while ARGV[i] do
  local token, n = ARGV[i], tonumber(ARGV[i + 1])
  local key = lease_key(member, token)
  i = i + 2
  local seqs, kept, late = {}, {}, {}
  for j = 1, n do seqs[j] = sub(ARGV[i + j - 1], 1, 16) end
  local values = values_of(key, seqs, n)
  for j = 1, n do
    if values[j] then kept[#kept + 1] = values[j] else late[#late + 1] = ARGV[i + j - 1] end
  end
  if #kept > 0 then
    put_back(kept, #kept, due)
    each_chunk('HDEL', key, seqs, n)
    if call('EXISTS', key) == 0 then call('ZREM', LEASES, member .. ':' .. token) end
  end
  done = done + #kept
  for j = 1, #late do
    local value = take_back(late[j])
    if value then
      call('HSET', BACK, sub(value, 1, 16), stored_of(value))
      if due then
        call('ZADD', LATER, due, sub(value, 1, 16))
      else
        call('ZADD', P .. 'again:' .. shard_of(value), tonumber(sub(value, 1, 16)), sub(value, 1, 16))
      end
      done = done + 1
    end
  end
  i = i + n
end
return done
