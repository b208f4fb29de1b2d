/** Password hashes as the YAML keeps them: scrypt, with its cost and salt beside the hash, as in `scrypt$ln=15,r=8,p=1$…$…`. */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/** 2^15 blocks of 8: 32 MiB and about a tenth of a second for each guess. */
const cost = { ln: 15, r: 8, p: 1 }
const hashLength = 32
/** More would let one login take the machine. */
const highest = { ln: 20, r: 32, p: 16 }
/** How many verifications run at a time, and how many may wait; each takes a thread and memory. */
const parallel = 2
const longestQueue = 200

interface PasswordHash {
  readonly ln: number
  readonly r: number
  readonly p: number
  readonly salt: Buffer
  readonly hash: Buffer
}

/** What the YAML says instead of `password`. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(Buffer.from(password), { ...cost, salt, hash: Buffer.alloc(hashLength) })
  return `scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${encode(salt)}$${encode(hash)}`
}

/** Undefined when `text` is no hash that can be verified. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const match = /^\$?scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w+/]{11,86})\$([\w+/]{22,86})$/.exec(text)
  if (!match) return undefined
  const [ln, r, p] = match.slice(1, 4).map(Number) as [number, number, number] // three groups of digits
  if (ln < 1 || ln > highest.ln || r < 1 || r > highest.r || p < 1 || p > highest.p) return undefined
  return { ln, r, p, salt: Buffer.from(match[4] ?? '', 'base64'), hash: Buffer.from(match[5] ?? '', 'base64') }
}

/** Verifies passwords off the event loop, few at a time. */
export class PasswordVerifier {
  readonly #hashes: ReadonlyMap<string, PasswordHash>
  /** Verified against when the name is unknown, so that the time does not tell which names exist. */
  readonly #nobody: PasswordHash
  /** What was verified before, by name: a digest under a key of this process. Devices reconnect often, all at once. */
  readonly #verified = new Map<string, Buffer>()
  readonly #key = randomBytes(32)
  readonly #waiting: (() => void)[] = []
  #running = 0

  /** @param users The hash of each user, by name. */
  constructor(users: ReadonlyMap<string, string>) {
    const hashes = new Map<string, PasswordHash>()
    for (const [name, text] of users) {
      const hash = parsePasswordHash(text)
      if (hash) hashes.set(name, hash)
    }
    this.#hashes = hashes
    const [model = { ...cost, hash: Buffer.alloc(hashLength) }] = hashes.values()
    this.#nobody = { ...model, salt: randomBytes(16) }
  }

  /** Undefined: too many are waiting to be verified. */
  async verify(name: string, password: Buffer): Promise<boolean | undefined> {
    const digest = createHmac('sha256', this.#key).update(password).digest()
    const before = this.#verified.get(name)
    if (before && timingSafeEqual(before, digest)) return true
    if (this.#waiting.length >= longestQueue) return undefined
    const known = this.#hashes.get(name)
    const right = await this.#inTurn(() => matches(password, known ?? this.#nobody))
    if (!known || !right) return false
    this.#verified.set(name, digest)
    return true
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    // Whoever ends hands its place to the one that has waited longest.
    if (this.#running === parallel) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    else this.#running++
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
    }
  }
}

async function matches(password: Buffer, expected: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, expected), expected.hash)
}

function derive(password: Buffer, { ln, r, p, salt, hash }: PasswordHash): Promise<Buffer> {
  const options = { N: 2 ** ln, r, p, maxmem: 256 * (2 ** ln + p + 8) * r }
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  scrypt(password, salt, hash.length, options, (error, key) => (error ? reject(error) : resolve(key)))
  return promise
}

/** Base64 without padding, as in PHC strings. */
function encode(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
