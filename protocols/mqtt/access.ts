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
  readonly #publish: Filters
  readonly #subscribe: Filters
  #mayPublish: Map<string, boolean> | undefined
  #mayRead: Map<string, boolean> | undefined

  constructor(rules: TopicRules, username: string, clientId: string) {
    this.username = username
    this.#publish = filledAll(rules.publish, username, clientId)
    this.#subscribe = filledAll(rules.subscribe, username, clientId)
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

type Filters = readonly (readonly FilterLevel[])[]

/** Rules without a placeholder are the same for every client. */
const fixed = new WeakMap<readonly string[], Filters>()

function filledAll(filters: readonly string[], username: string, clientId: string): Filters {
  const known = fixed.get(filters)
  if (known) return known
  const all = filters.flatMap((filter) => filled(filter, username, clientId))
  if (!filters.some((filter) => placeholder.test(filter))) fixed.set(filters, all)
  return all
}

const placeholder = /%[uc]/

/** No rule at all, when a name that it asks for is empty. */
function filled(filter: string, username: string, clientId: string): Filters {
  const levels: FilterLevel[] = []
  for (const level of parseFilter(filter)) {
    if (typeof level === 'string' || !placeholder.test(level.text)) {
      levels.push(level)
      continue
    }
    const text = level.text.replaceAll(/%[uc]/g, (name) => (name === '%u' ? username : clientId))
    if (text === '') return []
    // Literally, whatever it is: a client that calls itself + does not get every client's topics.
    levels.push(literal(text))
  }
  return [levels]
}

function coveredBy(filters: Filters, levels: readonly FilterLevel[]): boolean {
  return filters.some((filter) => covers(filter, levels))
}

/** A rule for everything is not looked into. */
function takesAll(filters: Filters, topic: string): boolean {
  return filters[0]?.[0] === '#' && !topic.startsWith('$')
}

/** Every message is asked about: what was found is kept. */
function takes(filters: Filters, topic: string, known: Map<string, boolean>): boolean {
  const before = known.get(topic)
  if (before !== undefined) return before
  const found = filters.some((filter) => filterMatches(filter, topic))
  if (known.size >= remembered) known.clear()
  known.set(topic, found)
  return found
}
