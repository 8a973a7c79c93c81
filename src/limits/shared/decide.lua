-- Counts what several edges share. One call decides on a whole request: every count is asked, then all are
-- taken or none. The time is this server's, so edges need not agree on theirs.
--
-- ARGV[1]  take | look | back | owe | hold
-- ARGV[2]  how many of KEYS are asked; eight values for each follow:
--   kind   w (ceiling over a trailing window), r (smooth rate), c (places in flight)
--   limit  most in a window, at once, or in flight
--   span   microseconds: the window, or the step of a rate, or for how long a place is held without renewal
--   cost   what the request counts for
--   shadow 1: never refuses, and counts only what is admitted
--   extra  how much more to take ahead, as far as there is room
--   stamp  back: what take has answered; owe: microseconds since it was spent
--   id     of a place in flight
-- Answers {admitted, then for each key: room left, microseconds until there is more, short, extra, stamp}.
local EPOCH, PARTS, SMALL = 1767225600, 60, 64
local time = redis.call('TIME')
local now = (tonumber(time[1]) - EPOCH) * 1000000 + tonumber(time[2])
local op = ARGV[1]
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

-- A window is a list {end, n, end, n, ...}: n requests in a stretch of time with this end. They count until
-- the end is a whole window ago, so what counts is never too low. Small ceilings have stretches of 1 µs.
local function stretch(rule, at)
  local width = rule.limit <= SMALL and 1 or ceil(rule.span / PARTS)
  return (floor(at / width) + 1) * width
end

local function load_window(rule)
  local packed = redis.call('GET', rule.key)
  local all = packed and cmsgpack.unpack(packed) or {}
  local kept, sum = {}, 0
  for at = 1, #all, 2 do
    if all[at] + rule.span > now then
      kept[#kept + 1] = all[at]
      kept[#kept + 1] = all[at + 1]
      sum = sum + all[at + 1]
    end
  end
  rule.list, rule.sum = kept, sum
end

local function store_window(rule)
  local list = rule.list
  if #list == 0 then
    redis.call('DEL', rule.key)
    return
  end
  local lasts = ceil((list[#list - 1] + rule.span - now) / 1000) + 1
  redis.call('SET', rule.key, cmsgpack.pack(list), 'PX', max(lasts, 1))
end

local function add_window(rule, n, at)
  local list, stamp = rule.list, stretch(rule, at)
  -- A clock that steps back counts where it last did, unless an older time is meant.
  if at == now and #list > 0 then stamp = max(stamp, list[#list - 1]) end
  local place = #list - 1
  while place > 0 and list[place] > stamp do place = place - 2 end
  if place > 0 and list[place] == stamp then
    list[place + 1] = list[place + 1] + n
  else
    table.insert(list, place + 2, stamp)
    table.insert(list, place + 3, n)
  end
  rule.sum = rule.sum + n
  return stamp
end

local function until_window(rule, n)
  local sum = rule.sum
  if n > rule.limit or #rule.list == 0 then return rule.span end
  for at = 1, #rule.list, 2 do
    sum = sum - rule.list[at + 1]
    if sum + n <= rule.limit then return rule.list[at] + rule.span - now end
  end
  return rule.span
end

local function load_rate(rule)
  rule.paced = tonumber(redis.call('GET', rule.key) or '0')
end

local function store_rate(rule)
  local lasts = ceil((rule.paced - now) / 1000) + 1
  if lasts <= 1 then
    redis.call('DEL', rule.key)
  else
    redis.call('SET', rule.key, string.format('%.4f', rule.paced), 'PX', lasts)
  end
end

local function count_held(rule)
  return redis.call('ZCOUNT', rule.key, now + 1, '+inf')
end

local function room(rule)
  if rule.kind == 'w' then return max(0, rule.limit - rule.sum) end
  if rule.kind == 'c' then return max(0, rule.limit - rule.held) end
  local free = rule.limit * rule.span - max(0, rule.paced - now)
  return max(0, floor(free / rule.span + 0.000001))
end

local function load(rule)
  if rule.kind == 'w' then load_window(rule)
  elseif rule.kind == 'r' then load_rate(rule)
  else rule.held = count_held(rule) end
end

local function hold(rule)
  redis.call('ZREMRANGEBYSCORE', rule.key, '-inf', now)
  redis.call('ZADD', rule.key, now + rule.span, rule.id)
  redis.call('PEXPIRE', rule.key, ceil(rule.span / 1000) + 1000)
end

local function take(rule, n)
  if rule.kind == 'w' then
    rule.stamp = add_window(rule, n, now)
    store_window(rule)
  elseif rule.kind == 'r' then
    rule.paced = max(rule.paced, now) + rule.span * n
    store_rate(rule)
  else
    hold(rule)
    rule.held = rule.held + 1
  end
end

-- Gives back what was taken; what has left its window meanwhile is gone anyway.
local function back(rule)
  if rule.kind == 'c' then
    redis.call('ZREM', rule.key, rule.id)
  elseif rule.kind == 'r' then
    load_rate(rule)
    rule.paced = rule.paced - rule.span * rule.cost
    store_rate(rule)
  else
    load_window(rule)
    local list = rule.list
    for at = 1, #list, 2 do
      if list[at] == rule.stamp then
        list[at + 1] = list[at + 1] - rule.cost
        if list[at + 1] <= 0 then
          table.remove(list, at)
          table.remove(list, at)
        end
        break
      end
    end
    store_window(rule)
  end
end

-- Counts what an edge has let through alone, whether there is room for it or not.
local function owe(rule)
  local at = now - rule.stamp
  if rule.kind == 'w' then
    if at + rule.span <= now then return end
    load_window(rule)
    add_window(rule, rule.cost, at)
    store_window(rule)
  elseif rule.kind == 'r' then
    load_rate(rule)
    rule.paced = max(rule.paced, at) + rule.span * rule.cost
    store_rate(rule)
  end
end

local rules = {}
for nth = 1, tonumber(ARGV[2]) do
  local at = 2 + (nth - 1) * 8
  rules[nth] = {
    key = KEYS[nth], kind = ARGV[at + 1], limit = tonumber(ARGV[at + 2]), span = tonumber(ARGV[at + 3]),
    cost = tonumber(ARGV[at + 4]), shadow = ARGV[at + 5] == '1', extra = tonumber(ARGV[at + 6]),
    stamp = tonumber(ARGV[at + 7]), id = ARGV[at + 8],
  }
end

if op == 'back' or op == 'owe' or op == 'hold' then
  local act = op == 'back' and back or op == 'owe' and owe or hold
  for _, rule in ipairs(rules) do act(rule) end
  return {1}
end

local admitted = true
for _, rule in ipairs(rules) do
  load(rule)
  rule.room = room(rule)
  rule.short = rule.room < rule.cost
  if rule.short and not rule.shadow then admitted = false end
end
local answer = {admitted and 1 or 0}
for _, rule in ipairs(rules) do
  local ahead = 0
  if admitted and op == 'take' and not rule.short then
    ahead = min(rule.extra, rule.room - rule.cost)
    take(rule, rule.cost + ahead)
    rule.room = rule.room - rule.cost - ahead
  end
  local n = rule.short and rule.cost or rule.room + 1
  local wait = 1000000
  if rule.kind == 'w' then
    wait = until_window(rule, n)
  elseif rule.kind == 'r' then
    wait = n > rule.limit and rule.span or max(0, rule.paced - now) + rule.span * n - rule.limit * rule.span
  end
  answer[#answer + 1] = rule.room
  answer[#answer + 1] = ceil(max(wait, 0))
  answer[#answer + 1] = rule.short and 1 or 0
  answer[#answer + 1] = ahead
  answer[#answer + 1] = rule.kind == 'w' and rule.stamp or 0
end
return answer
