/** Who may log in, and what they may publish and subscribe to. */
import { PasswordVerifier } from './password.ts'
import { covers, filterMatches, isReserved, literal, parseFilter, type FilterLevel } from './topic.ts'

/** Topic filters; `%u` stands for the user's name, `%c` for the client id, each within one level. */
export interface TopicRules {
  readonly publish: readonly string[]
  readonly subscribe: readonly string[]
}
export interface User extends TopicRules {
  readonly name: string
  /** A hash, see password.ts. */
  readonly password: string
}

/** Answers to CONNECT, section 3.2.2.3. */
export const returnCodes = { identifierRejected: 2, unavailable: 3, badCredentials: 4, notAuthorized: 5 } as const
export type ReturnCode = (typeof returnCodes)[keyof typeof returnCodes]

/** How many topics a client's rights are remembered for. */
const remembered = 1000

export class Access {
  readonly #users: ReadonlyMap<string, User>
  readonly #anonymous: TopicRules | undefined
  readonly #verifier: PasswordVerifier

  constructor(users: readonly User[], anonymous: TopicRules | undefined) {
    this.#users = new Map(users.map((user) => [user.name, user]))
    this.#anonymous = anonymous
    this.#verifier = new PasswordVerifier(new Map(users.map(({ name, password }) => [name, password])))
  }

  /** Whom these credentials would make: '' for an anonymous client. Where there are no users, a name means nothing. */
  identity(username: string | undefined): string {
    return this.#users.size === 0 ? '' : (username ?? '')
  }

  /** The user's rights, or how to refuse. */
  async logIn(
    clientId: string,
    username: string | undefined,
    password: Buffer | undefined,
  ): Promise<Rights | ReturnCode> {
    const name = this.identity(username)
    if (name === '') {
      if (!this.#anonymous) return username ? returnCodes.badCredentials : returnCodes.notAuthorized
      return new Rights(this.#anonymous, '', clientId)
    }
    const right = await this.#verifier.verify(name, password ?? Buffer.alloc(0))
    if (right === undefined) return returnCodes.unavailable
    const user = this.#users.get(name)
    return right && user ? new Rights(user, name, clientId) : returnCodes.badCredentials
  }
}

/** What one client may do. */
export class Rights {
  readonly username: string
  readonly #publish: readonly (readonly FilterLevel[])[]
  readonly #subscribe: readonly (readonly FilterLevel[])[]
  #mayPublish: Map<string, boolean> | undefined
  #mayRead: Map<string, boolean> | undefined

  constructor(rules: TopicRules, username: string, clientId: string) {
    this.username = username
    const fill = (filters: readonly string[]) => filters.flatMap((filter) => filled(filter, username, clientId))
    this.#publish = fill(rules.publish)
    this.#subscribe = fill(rules.subscribe)
  }

  mayPublish(topic: string): boolean {
    if (isReserved(topic)) return false
    return takesAll(this.#publish, topic) || takes(this.#publish, topic, (this.#mayPublish ??= new Map()))
  }

  /** Whether all that the filter takes may be read. */
  maySubscribe(filter: string): boolean {
    return coveredBy(this.#subscribe, parseFilter(filter))
  }

  mayRead(topic: string): boolean {
    return takesAll(this.#subscribe, topic) || takes(this.#subscribe, topic, (this.#mayRead ??= new Map()))
  }
}

/** Rules without a placeholder are the same for every client. */
const fixed = new Map<string, readonly (readonly FilterLevel[])[]>()

/** No rule at all, when a name that it asks for is empty. */
function filled(filter: string, username: string, clientId: string): readonly (readonly FilterLevel[])[] {
  if (!/%[uc]/.test(filter)) {
    const known = fixed.get(filter) ?? [parseFilter(filter)]
    fixed.set(filter, known)
    return known
  }
  const levels: FilterLevel[] = []
  for (const level of parseFilter(filter)) {
    if (typeof level === 'string' || !/%[uc]/.test(level.text)) {
      levels.push(level)
      continue
    }
    const text = level.text.replaceAll(/%[uc]/g, (placeholder) => (placeholder === '%u' ? username : clientId))
    if (text === '') return []
    // Literally, whatever it is: a client that calls itself + does not get every client's topics.
    levels.push(literal(text))
  }
  return [levels]
}

function coveredBy(filters: readonly (readonly FilterLevel[])[], levels: readonly FilterLevel[]): boolean {
  return filters.some((filter) => covers(filter, levels))
}

/** A rule for everything is not looked into. */
function takesAll(filters: readonly (readonly FilterLevel[])[], topic: string): boolean {
  return filters[0]?.[0] === '#' && !topic.startsWith('$')
}

/** Every message is asked about: what was found is kept. */
function takes(filters: readonly (readonly FilterLevel[])[], topic: string, known: Map<string, boolean>): boolean {
  const before = known.get(topic)
  if (before !== undefined) return before
  const found = filters.some((filter) => filterMatches(filter, topic))
  if (known.size >= remembered) known.clear()
  known.set(topic, found)
  return found
}
