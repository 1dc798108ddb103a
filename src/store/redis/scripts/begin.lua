-- Begins a session: writes it down, puts it into its user's index, ends what is over the cap or has
-- run out, gives the replaced session its grace, and adds the session key to the user's.
-- Either all of it happens or nothing. Should it run twice for one login, as it may when a Cluster
-- loses a connection, the second time changes nothing that matters.
--
-- The keys of other sessions of the user are made here, from the index: they have the same hash tag
-- as the three that are named, and so are in the same slot.
local session, user, user_keys = KEYS[1], KEYS[2], KEYS[3]
local sessions, channel = ARGV[1], ARGV[2]
local now, ttl, keep_for = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local digest, record, created = ARGV[6], ARGV[7], ARGV[8]
local cap, replaces, grace_over = tonumber(ARGV[9]), ARGV[10], tonumber(ARGV[11])
local fingerprint, redeemed, sealed_key = ARGV[12], tonumber(ARGV[13]), ARGV[14]
local max_keys = tonumber(ARGV[15])

local function whole(number)
  return string.format('%.0f', number)
end

-- What is of a wrong type is found out before anything is written.
local index, known = redis.call('HGETALL', user), redis.call('HGETALL', user_keys)

local ended = {}
local function finish(entry)
  redis.call('DEL', sessions .. entry.digest)
  redis.call('HDEL', user, entry.digest)
  ended[#ended + 1] = entry.digest
end

-- The user's other sessions, in order of login. A field is "place created cut", and a cut of 0 is
-- none; the field that is no digest counts logins.
local others, last = {}, 0
for at = 1, #index, 2 do
  local place, began, cut = index[at + 1]:match('^(%d+) (%d+) (%d+)$')
  if index[at] == 'logins' then
    -- What is no number counts nothing.
    last = math.max(last, tonumber(index[at + 1]) or 0)
  elseif place and index[at] ~= digest then
    last = math.max(last, tonumber(place))
    local entry = {
      digest = index[at], place = tonumber(place), created = tonumber(began), cut = tonumber(cut),
    }
    local live = now < entry.created + ttl and (entry.cut == 0 or now < entry.cut)
    if live and redis.call('EXISTS', sessions .. entry.digest) == 1 then
      others[#others + 1] = entry
    else
      finish(entry)
    end
  end
end
table.sort(others, function(one, other) return one.place < other.place end)
if #others == 0 then
  -- Whoever comes now is a new user.
  known = {}
end

local shortened = ''
for _, entry in ipairs(others) do
  if entry.digest == replaces then
    local name = sessions .. entry.digest
    entry.cut = entry.cut == 0 and grace_over or math.min(entry.cut, grace_over)
    local kept = redis.pcall('GET', name)
    local rest = type(kept) == 'string' and kept:match('^%d+( .*)$')
    local left, expires = math.max(entry.cut - now, 1), redis.call('PTTL', name)
    if expires > 0 then left = math.min(left, expires) end
    if rest then redis.call('SET', name, whole(entry.cut) .. rest, 'PX', whole(left)) end
    local field = whole(entry.place) .. ' ' .. whole(entry.created) .. ' ' .. whole(entry.cut)
    redis.call('HSET', user, entry.digest, field)
    shortened = entry.digest .. whole(entry.cut)
  end
end

-- "cut seen ends record"
local ends = whole(tonumber(created) + ttl)
redis.call('SET', session, '0 ' .. created .. ' ' .. ends .. ' ' .. record, 'PX', keep_for)
local place = last + 1
redis.call('HSET', user, 'logins', whole(place), digest, whole(place) .. ' ' .. created .. ' 0')

-- A replaced session is on its way out and does not count.
local counted = 1
for _, entry in ipairs(others) do
  if entry.cut == 0 then counted = counted + 1 end
end
for _, entry in ipairs(others) do
  if cap > 0 and counted > cap and entry.cut == 0 then
    finish(entry)
    counted = counted - 1
  end
end

-- The user's keys, newest first by the moment at which they were redeemed: an answer that was long
-- under way is not the newest key. The same key again is the same key, in use once more. A field is
-- "redeemed replaced place sealed", and a replaced of 0 is the current one.
local keys = {}
for at = 1, #known, 2 do
  local when, replaced, rank, sealed = known[at + 1]:match('^(%d+) (%d+) (%d+) (.*)$')
  if when and known[at] == fingerprint then
    redeemed = math.max(redeemed, tonumber(when))
  elseif when then
    keys[#keys + 1] = {
      name = known[at], redeemed = tonumber(when), replaced = tonumber(replaced),
      place = tonumber(rank), sealed = sealed,
    }
  end
end
keys[#keys + 1] = {
  name = fingerprint, redeemed = redeemed, replaced = 0, place = place, sealed = sealed_key,
}
table.sort(keys, function(one, other)
  if one.redeemed ~= other.redeemed then return one.redeemed > other.redeemed end
  return one.place > other.place
end)
redis.call('DEL', user_keys)
for rank, key in ipairs(keys) do
  if rank <= max_keys then
    if rank == 1 then
      key.replaced = 0
    elseif key.replaced == 0 then
      key.replaced = now
    end
    local numbers = whole(key.redeemed) .. ' ' .. whole(key.replaced) .. ' ' .. whole(key.place)
    redis.call('HSET', user_keys, key.name, numbers .. ' ' .. key.sealed)
  end
end

-- What is known of the user outlives every session, and never by much.
local longest = math.max(redis.call('PTTL', user), ttl)
redis.call('PEXPIRE', user, whole(longest))
redis.call('PEXPIRE', user_keys, whole(longest))

local over = table.concat(ended)
if over ~= '' then redis.call('PUBLISH', channel, 'e' .. over) end
if shortened ~= '' then redis.call('PUBLISH', channel, 'c' .. shortened) end
return { over, shortened }
