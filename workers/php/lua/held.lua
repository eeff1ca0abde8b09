-- How many elements the lists KEYS hold together, seen at one moment: a record that moves between them is counted once.
-- (A transaction would do as well, but over maxmemory Redis refuses what stands in a MULTI.)
local held = 0
for _, key in ipairs(KEYS) do
  held = held + redis.call('LLEN', key)
end
return held
