-- Holds a batch, or refuses it whole. ARGV: 2 events_max, then each event as a tail.
local n = #ARGV - 2
local meta = call('HMGET', META, 'held', 'ms', 'format')
if not meta[3] then return absent() end
if meta[1] + n > tonumber(ARGV[2]) then return fail('FULL') end
local base = call('HINCRBY', META, 'seq', n) - n
local prefix = format('%d-', accept_ms(meta[2]))
for i = 1, n do
  local tail = ARGV[i + 2]
  call('XADD', P .. tonumber(sub(tail, 1, 3)), prefix .. format('%d', base + i), 'v', tail)
end
call('HINCRBY', META, 'held', n)
return n
