/** What the server runs. A script is done as a whole, and nothing comes between. */
import { createHash } from "node:crypto";
import { FORMAT } from "./entries.ts";

/** How a write ended: two bits beside the time. */
export const [DONE, LATE, STRANGE] = [1, 2, 3];

/** Conditions of a write; another one is what the entry has to begin with. */
export const [WHATEVER, ABSENT] = ["*", "-"];

/** A script. */
export interface Script {
  readonly text: string;
  /** What the server knows it by. */
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/** Gives an entry. A script, and no GET: of a cluster, only masters run them. */
export const GET = script(`return redis.call("GET", KEYS[1])`);

const TIME = `
  local time = redis.call("TIME")
  local server = time[1] * 1000 + math.floor(time[2] / 1000)`;

// KEYS: keys, the entry, ends, what tells that this write was done
// ARGV: deadline, condition; for put the entry; perhaps its ttl; perhaps the time by which it ends
//
// In the order of what may fail, so that nothing is done in part: SET is refused by a server that has no room, and ZADD for keys
// of others. A key among the keys that has no entry is put right when it is listed.
export const WRITE = script(`${TIME}
  if server > tonumber(ARGV[1]) then
    return server * 4 + (redis.call("EXISTS", KEYS[4]) == 1 and ${DONE} or ${LATE})
  end
  local head = redis.call("GETRANGE", KEYS[2], 0, 39)
  local held = head ~= ""
  if held and (string.sub(head, 1, 2) ~= "${FORMAT} " or string.byte(head, 39) ~= 32) then return server * 4 + ${STRANGE} end
  local live, now = held, server
  if ARGV[5] then
    now = tonumber(ARGV[5])
    local finish = string.match(redis.call("GETRANGE", KEYS[2], 39, 59), "^%d+")
    live = held and (not finish or tonumber(finish) > now)
  end

  local condition = ARGV[2]
  if condition ~= "${WHATEVER}" and (condition == "${ABSENT}" and live
    or condition ~= "${ABSENT}" and (not live or string.sub(head, 1, 39) ~= condition)) then
    return server * 4 + redis.call("EXISTS", KEYS[4])
  end

  local function remove(key, place)
    redis.call("DEL", place)
    redis.call("ZREM", KEYS[1], key)
    redis.call("ZREM", KEYS[3], key)
  end
  local base = string.sub(KEYS[1], 1, -5)
  local key = string.sub(KEYS[2], #base + 7)
  local memoryMs = ARGV[1] - server + 1000
  local text, ttl = ARGV[3], tonumber(ARGV[4])
  if not text or text == "" then
    -- Not by one SET as below: it would have to come first, and a full server would not let anything be deleted.
    if redis.call("EXISTS", KEYS[4]) == 1 then return server * 4 + ${DONE} end
    remove(key, KEYS[2])
    redis.call("SET", KEYS[4], "", "PX", memoryMs)
    return server * 4 + ${DONE}
  end
  if not redis.call("SET", KEYS[4], "", "NX", "PX", memoryMs) then return server * 4 + ${DONE} end
  if not held then redis.call("ZADD", KEYS[1], 0, key) end
  if not ttl then
    if string.sub(head, 40) ~= "-" then redis.call("ZREM", KEYS[3], key) end
    redis.call("SET", KEYS[2], text)
    return server * 4 + ${DONE}
  end

  local finish = math.min(math.ceil(now + ttl), 9007199254740991)
  -- Redis has it for a millisecond more.
  local px = finish - now - (ARGV[5] and 0 or 1)
  if px <= 0 then
    remove(key, KEYS[2])
  else
    local digits = string.format("%.0f", finish)
    redis.call("ZADD", KEYS[3], digits, key)
    local ending = string.sub(text, 1, 39) .. digits .. string.sub(text, 41)
    if ARGV[5] then
      redis.call("SET", KEYS[2], ending)
    else
      redis.call("SET", KEYS[2], ending, "PX", px)
    end
  end
  -- Twice as fast as they come. What is done is done, whatever becomes of this.
  for _, key in ipairs(redis.call("ZRANGEBYSCORE", KEYS[3], "-inf", now, "LIMIT", 0, 2)) do
    pcall(remove, key, base .. "entry:" .. key)
  end
  return server * 4 + ${DONE}`);

// KEYS: keys, ends
// ARGV: from, to, how many; perhaps the time by which entries end
//
// The entries are not among KEYS: who asks does not know them yet. They are in the slot of KEYS.
export const LIST = script(`${TIME}
  local now = tonumber(ARGV[4]) or server
  local base = string.sub(KEYS[1], 1, -5) .. "entry:"
  local from, wanted = ARGV[1], tonumber(ARGV[3])
  local reply, over, bytes, seen, more = {server, false}, {}, 0, 0, true
  while more and wanted > 0 and seen < 1000 do
    local keys = redis.call("ZRANGEBYLEX", KEYS[1], from, ARGV[2], "LIMIT", 0, wanted)
    more = #keys == wanted
    for i, key in ipairs(keys) do
      from = "(" .. key
      seen = seen + 1
      local text = redis.call("GET", base .. key)
      local finish
      if not text then
        finish = redis.call("ZSCORE", KEYS[2], key)
      elseif ARGV[4] then
        finish = string.match(text, "^${FORMAT} %S+ (%d+) ")
      end
      if finish and tonumber(finish) <= now then
        over[#over + 1] = key
      else
        reply[#reply + 1] = key
        reply[#reply + 1] = text
        wanted = wanted - 1
        bytes = bytes + (text and #text or 0)
        if bytes >= 1048576 then
          more, wanted = more or i < #keys, 0
          break
        end
      end
    end
  end
  if more then reply[2] = string.sub(from, 2) end
  for _, key in ipairs(over) do
    -- A listing is no worse for it when the server does not write now.
    redis.pcall("DEL", base .. key)
    redis.pcall("ZREM", KEYS[1], key)
    redis.pcall("ZREM", KEYS[2], key)
  end
  return reply`);
