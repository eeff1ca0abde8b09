-- Takes a worker's name. KEYS: heartbeat, owners. ARGV: worker, token, heartbeat in ms, this process' earlier token or ''.
-- Returns -1 when the name is ours now, else the milliseconds that the present owner's heartbeat still has.
--
-- owners maps a worker to "TOKEN:NUMBER": who owns the name, and the number of its last acknowledgement. The heartbeat
-- only says whether that owner lives; it runs out by itself, the ownership does not.
local owner = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local function owned_by(token)
  return token ~= '' and string.sub(owner, 1, #token + 1) == token .. ':'
end
if redis.call('EXISTS', KEYS[1]) == 1 and not owned_by(ARGV[2]) and not owned_by(ARGV[4]) then
  return math.max(0, redis.call('PTTL', KEYS[1]))
end
-- A write that needs no memory comes first in each script: after it Redis lets the others pass even over maxmemory, and
-- workers can go on emptying a full Redis.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':0')
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return -1
