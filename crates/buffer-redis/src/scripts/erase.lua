-- Removes the source and everything beside it. Returns how many keys there were.
local pattern = '{' .. string.gsub(N, '[%*%?%[%]\\]', '\\%0') .. '}:*'
local keys, cursor = { N }, '0'
repeat
  local page = call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do keys[#keys + 1] = key end
until cursor == '0'
local removed = 0
for _, key in ipairs(keys) do removed = removed + call('UNLINK', key) end
return removed
