-- Done for good. ARGV: 2 member, then for each lease: token, n, n items (seq 16, leases 5). n < 0 is
-- the whole lease, if it holds -n events. Replies with how many were acked, and the tokens of whole
-- leases that are gone, or hold another number.
drains()
if GROUP ~= '' then look_whole() end
local member, done, gone = ARGV[2], 0, {}
local i = 3
while ARGV[i] do
  local token, n = ARGV[i], tonumber(ARGV[i + 1])
  local key = lease_key(member, token)
  i = i + 2
  if n < 0 then
    local held = call('HLEN', key)
    n = 0 - n
    if held ~= n then
      gone[#gone + 1] = token
    else
      if GROUP ~= '' then forget_stored(call('HGETALL', key), 2 * held) end
      call('UNLINK', key)
      call('ZREM', LEASES, member .. ':' .. token)
      done = done + held
    end
    n = 0
  else
    local seqs = {}
    for j = 1, n do seqs[j] = sub(ARGV[i + j - 1], 1, 16) end
    if GROUP ~= '' then
      local stored, pairs_ = stored_in(key, seqs, n), {}
      for j = 1, n do pairs_[2 * j - 1], pairs_[2 * j] = seqs[j], stored[j] end
      forget_stored(pairs_, 2 * n)
    end
    local acked = each_chunk('HDEL', key, seqs, n)
    if acked > 0 and call('EXISTS', key) == 0 then call('ZREM', LEASES, member .. ':' .. token) end
    -- Those whose lease expired are acked as long as nobody has them again.
    for j = 1, acked < n and n or 0 do
      local value = take_back(ARGV[i + j - 1])
      if value then
        forget({ value }, 1)
        acked = acked + 1
      end
    end
    done = done + acked
  end
  i = i + n
end
if done > 0 then call('HINCRBY', META, 'held', -done) end
return { done, gone }
