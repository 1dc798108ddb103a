-- Ends all sessions of a user that began up to a moment, and forgets the user with the last one.
--
-- The keys of the sessions are made here, from the index: they have the same hash tag as the two that
-- are named, and so are in the same slot.
local user, user_keys = KEYS[1], KEYS[2]
local sessions, channel, begun_by = ARGV[1], ARGV[2], tonumber(ARGV[3])

local ended, left = {}, 0
local index = redis.call('HGETALL', user)
for at = 1, #index, 2 do
  local digest = index[at]
  local created = index[at + 1]:match('^%d+ (%d+) %d+$')
  if created and tonumber(created) <= begun_by then
    redis.call('DEL', sessions .. digest)
    redis.call('HDEL', user, digest)
    ended[#ended + 1] = digest
  elseif created then
    left = left + 1
  end
end
if left == 0 then
  redis.call('DEL', user, user_keys)
end
local over = table.concat(ended)
if over ~= '' then redis.call('PUBLISH', channel, 'e' .. over) end
return over
