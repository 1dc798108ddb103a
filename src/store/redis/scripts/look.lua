-- Looks at a session whose life depends on its use, and notes the use. One that has run out of its
-- idle time is not brought back by being looked at.
local session = KEYS[1]
local now, idle, keep_for = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local found = redis.call('GET', session)
if not found then return found end
local cut, seen, ends, record = found:match('^(%d+) (%d+) (%d+) (.*)$')
if not record then return found end
local idle_for = now - tonumber(seen)
if idle_for > 0 and idle_for < idle then
  local left = math.min(keep_for, tonumber(ends) - now)
  if cut ~= '0' then left = math.min(left, tonumber(cut) - now) end
  if left > 0 then
    found = cut .. ' ' .. ARGV[1] .. ' ' .. ends .. ' ' .. record
    -- A Redis that takes no writes can be read: the session is found, only its use is not noted.
    redis.pcall('SET', session, found, 'PX', string.format('%.0f', left))
  end
end
return found
