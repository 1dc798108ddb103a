-- Ends one session of a user, and forgets the user with the last one. Says which was ended.
local session, user, user_keys = KEYS[1], KEYS[2], KEYS[3]
local channel, digest = ARGV[1], ARGV[2]

redis.call('DEL', session)
redis.call('HDEL', user, digest)
local fields = redis.call('HLEN', user)
if fields == 0 or (fields == 1 and redis.call('HEXISTS', user, 'logins') == 1) then
  redis.call('DEL', user, user_keys)
end
redis.call('PUBLISH', channel, 'e' .. digest)
return digest
