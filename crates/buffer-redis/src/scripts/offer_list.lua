-- Makes a block of a batch, or refuses it whole. ARGV: 2 events_max, 3 how many there are, then the events
-- as tails, unless the transaction that ends with this has pushed them onto the stage: so they need
-- not pass through Lua while a producer waits.
local n = tonumber(ARGV[3])
local meta = call('HMGET', META, 'held', 'ms', 'format')
local refused = not meta[3] and absent() or meta[3] and meta[1] + n > tonumber(ARGV[2]) and fail('FULL')
if refused then
  call('UNLINK', STAGE)
  return refused
end
for from = 4, #ARGV, CHUNK do
  call('LPUSH', STAGE, unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))
end
-- Further right lies what a transaction pushed that did not get here: Redis did not know this script.
call('LTRIM', STAGE, 0, n - 1)
make_block(n, accept_ms(meta[2]))
call('HINCRBY', META, 'held', n)
return n
