-- Puts a worker's own list back to the left of the main list, in its old order, and forgets the worker.
-- KEYS: list, the worker's own list, heartbeat, owners. ARGV: worker, and its token if it asks itself, else ''.
-- Returns how many records that were, or -1 when it is not allowed: the worker lives, or the name is not the asker's.
if ARGV[2] == '' then
  if redis.call('EXISTS', KEYS[3]) == 1 then
    return -1
  end
else
  local owner = redis.call('HGET', KEYS[4], ARGV[1]) or ''
  if string.sub(owner, 1, #ARGV[2] + 1) ~= ARGV[2] .. ':' then
    return -1
  end
end
redis.call('DEL', KEYS[3]) -- needs no memory and so comes first: see register.lua
local count = redis.call('LLEN', KEYS[2])
for _ = 1, count do
  redis.call('RPOPLPUSH', KEYS[2], KEYS[1])
end
redis.call('HDEL', KEYS[4], ARGV[1])
return count
