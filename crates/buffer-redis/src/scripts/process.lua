-- The process that serves this buffer, as it numbers itself; 0 if it would not say.
local text = redis.pcall('INFO', 'server')
if type(text) ~= 'string' then return 0 end
return tonumber(string.match(text, '\nprocess_id:(%d+)')) or 0
