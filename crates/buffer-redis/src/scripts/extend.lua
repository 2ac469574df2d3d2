-- Moves deadlines. ARGV: 2 member, 3 by ms, 4 the token for what is split off, then for each lease:
-- token, n, n items; n < 0 is the whole lease. Replies with how many were extended, and the tokens of
-- whole leases that are gone.
local member, deadline, fresh = ARGV[2], now + ARGV[3], ARGV[4]
if not call('ZSCORE', MEMBERS, member) then return fail('FENCED') end
drains()
local into = lease_key(member, fresh)
local done, gone, split, i = 0, {}, 0, 5
while ARGV[i] do
  local token, n = ARGV[i], tonumber(ARGV[i + 1])
  local key = lease_key(member, token)
  i = i + 2
  if n < 0 then
    n = 0
    local held = call('HLEN', key)
    if held == 0 then
      gone[#gone + 1] = token
    else
      call('ZADD', LEASES, deadline, member .. ':' .. token)
      done = done + held
    end
  else
    local seqs, pairs_, moved = {}, {}, 0
    for j = 1, n do seqs[j] = sub(ARGV[i + j - 1], 1, 16) end
    local values = values_of(key, seqs, n)
    for j = 1, n do
      local value = values[j]
      if not value then
        -- Where the shard is another's by now, so is what comes again of it.
        local back = value_of_one(BACK, seqs[j])
        if back and call('HGET', SHARDS, shard_of(back)) == member then
          value = take_back(ARGV[i + j - 1])
        end
        if value then
          -- It never came again: it is in the same lease as before.
          local leases = tonumber(sub(value, 30, 34)) - 1
          value = sub(value, 1, 29) .. format('%05d', leases) .. sub(value, 35)
        end
      end
      if value then
        moved = moved + 1
        pairs_[2 * moved - 1], pairs_[2 * moved] = seqs[j], stored_of(value)
      end
    end
    if moved > 0 then
      each_chunk('HDEL', key, seqs, n)
      each_chunk('HSET', into, pairs_, 2 * moved)
      if call('EXISTS', key) == 0 then call('ZREM', LEASES, member .. ':' .. token) end
    end
    done, split = done + moved, split + moved
  end
  i = i + n
end
if split > 0 then call('ZADD', LEASES, deadline, member .. ':' .. fresh) end
return { done, gone }
