local limit, publish, database, wait = 0, 'PUBLISH', '', false
local t = redis.call('TIME')
return string.format('%.0f', t[1] * 1000000 + t[2])
