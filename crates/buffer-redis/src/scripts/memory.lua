-- How much memory is used, and its bound (0: none). Whether there is an append-only file, and the
-- policy: what a managed Redis tells though it forbids CONFIG.
local function told(section, name)
  local text = redis.pcall('INFO', section)
  if type(text) ~= 'string' then return '' end
  return string.match(text, '\n' .. name .. ':([^\r\n]*)') or ''
end
return { tonumber(told('memory', 'used_memory')) or 0, tonumber(told('memory', 'maxmemory')) or 0,
  told('memory', 'maxmemory_policy'), told('persistence', 'aof_enabled') }
