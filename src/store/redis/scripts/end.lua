-- Ends one session of a user, and forgets the user with the last one. Says which was ended. Needs no
-- index for that: one that is of a wrong type is left alone, and the ending is told all the same.
local session, user, user_keys = KEYS[1], KEYS[2], KEYS[3]
local channel, digest, sessions = ARGV[1], ARGV[2], ARGV[3]

redis.call('DEL', session)
if redis.call('TYPE', user).ok == 'hash' then
  redis.call('HDEL', user, digest)
  -- Entries of sessions that have run out are no sessions. Each is met once.
  local left = false
  for _, field in ipairs(redis.call('HKEYS', user)) do
    if field ~= 'logins' then
      left = redis.call('EXISTS', sessions .. field) == 1
      if left then break end
      redis.call('HDEL', user, field)
    end
  end
  if not left then redis.call('DEL', user, user_keys) end
end
redis.call('PUBLISH', channel, 'e' .. digest)
return digest
