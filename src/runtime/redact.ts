/** What a line of the log must not show: secrets never, telephone numbers and mail addresses not above debug. */

/** Values of these keys, however deep, also as a pair in a list of headers. */
const secretKeys = [
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-twilio-signature',
  'x-api-key',
  'password',
  'passphrase',
  'secret',
  'token',
  'authToken',
  'auth_token',
  'apiKey',
  'api_key',
].join('|')

const text = String.raw`"(?:[^"\\]|\\.)*"`
/** `"password":"…"`, `"authToken":["…","…"]`, and `"cookie","…"` of headers that are pairs. */
const secretValue = new RegExp(
  String.raw`("(?:${secretKeys})"[:,])(?:${text}|\[(?:${text},?)*\]|-?\d[\d.e+-]*)(?!:)`,
  'gi',
)
/**
 * `password=…`, `secret-token: …` and `\"password\":\"…\"` in a sentence, a query or a payload. Bounded, so that it is linear; the
 * escapes of JSON stay whole, and a new line ends it.
 */
const secretWords =
  /((?:pass(?:word|wd|phrase|code)|pwd|secret|token|api[-_]?key)[\w-]{0,40}(?:\\"|')? ?[=:] ?(?:\\"|')?)(?:\\[^nrt]|[^\s"'&,;\\])+/gi
/** `//user:password@` */
const credentials = /\/\/[^\s/@"]*:[^\s/@"]*@/g
const scheme = /\b(Bearer|Basic) +[\w+/=.~-]+/gi
/** Begins behind what cannot be in a plain one, or behind an escape of JSON, which must stay whole. */
const mailAddress =
  /(?<=^|[\s"<>(),;:/]|\\u[\da-f]{4}|\\[^u])([^\s"<>(),;:/\\@])[^\s"<>(),;:/\\@]*@([\p{L}\p{N}.-]*[\p{L}\p{N}])/giu
/** After the escape of a new line too. */
const telephone = /(?<![\w+](?<!\\[nrt]))(\+\d)\d{4,12}(\d\d)(?!\d)/g
/** pino's number of `debug`. */
const debug = 20

/** The line as it may be written: `{"level":30,…}` in, the same with `…` in it out. */
export function redactLine(line: string): string {
  const level = Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? Infinity)
  return maskText(line, level <= debug)
}

/** What JSON can say, without secrets, mail addresses and telephone numbers. */
export function masked<T>(value: T): T {
  return JSON.parse(maskText(JSON.stringify(value), false)) as T // the line stays one of JSON, with the same keys
}

/** JSON without its secrets, and without mail addresses and telephone numbers where they are not `revealed`. */
function maskText(line: string, revealed: boolean): string {
  const safe = line
    .replace(secretValue, '$1"…"')
    .replace(secretWords, '$1…')
    .replace(credentials, '//…@')
    .replace(scheme, '$1 …')
  if (revealed) return safe
  const withoutAddresses = safe.replace(mailAddress, (found, first: string, domain: string, offset: number) =>
    // A Message-ID has the shape of an address, and is what a mail is found by.
    isMessageId(safe, offset) ? found : `${first}…@${domain}`,
  )
  return withoutAddresses.replace(telephone, '$1…$2')
}

const isMessageId = (line: string, offset: number): boolean =>
  /"messageId":"<?$/.test(line.slice(Math.max(0, offset - 20), offset))
