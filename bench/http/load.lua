-- wrk's side of a round: cookies to send, and what came of it as JSON in the last line.
-- wrk ... -s load.lua URL -- COOKIES repeat|once|follow
-- `follow` sends each cookie once, too, and then those that the server set.

local cookies, again = {}, false
local first, last = 1, 0
starved = 0

function setup(thread)
  running = thread
end

function init(args)
  for cookie in io.lines(args[1]) do
    last = last + 1
    cookies[last] = cookie
  end
  again = args[2] == "repeat"
  if args[2] ~= "follow" then response = nil end
end

function request()
  local cookie = cookies[first]
  if again then
    first = first % last + 1
  elseif first < last then
    first = first + 1
  else
    starved = starved + 1
  end
  if cookie == "" then return wrk.format("GET", nil) end
  return wrk.format("GET", nil, { Cookie = cookie })
end

function response(status, headers)
  local cookie = headers["set-cookie"] or headers["Set-Cookie"]
  if cookie == nil then return end
  last = last + 1
  cookies[last] = cookie:match("^[^;]*")
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "failed": %d, "starved": %d}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, running:get("starved") or 0
  ))
end
