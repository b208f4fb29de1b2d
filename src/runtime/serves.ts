/** What a consumer class, or an application made of one, says of itself: which protocols it takes, and which methods they call. */
import { SignalboxError } from './errors.ts'

export interface Serves {
  /** Scopes of any other type are refused. */
  readonly protocols: readonly string[]
  /** What the events of its scopes call; left out: the methods of their own types alone. */
  readonly methods?: readonly string[]
  /** A class may write none of them; otherwise one that does can do nothing with its events. */
  readonly optional?: true
}

/** The key, which every base class of this package has, also one that takes any protocol; the same in every copy of it. */
export const serves: unique symbol = Symbol.for('signalbox.serves') as typeof serves

/** Undefined: it does not say. */
export function servesOf(value: unknown): Serves | undefined {
  return typeof value === 'function' && serves in value ? (value[serves] as Serves | undefined) : undefined
}

/** The same application, which says whose scopes it takes. */
export function serving<A extends object>(application: A, says: Serves | undefined): A {
  return says ? Object.assign(application, { [serves]: { protocols: says.protocols } satisfies Serves }) : application
}

/** @throws SignalboxError `bad_reference` when scopes of this type are not for it. */
export function expectServed({ protocols }: Serves, type: string, name: string): void {
  if (protocols.includes(type)) return
  const message = `found ${name}, which takes ${protocols.join(' and ')}, expected what takes ${type}`
  throw new SignalboxError('bad_reference', message)
}

/** What an event fails with whose method the class of this consumer has not written: nobody may take it for handled. */
export function unwritten(consumer: object, method: string): SignalboxError {
  const { constructor: made } = consumer
  const found = ownMethods(made).join(', ') || 'none'
  return new SignalboxError(
    'bad_reference',
    `expected a method ${method} of ${made.name || 'a class without a name'}, found ${found}`,
  )
}

/** Whether the class of this consumer has a method for messages of its groups or its channel, beside events of this type of scope. */
export function isListener(consumer: object, type: string): boolean {
  const names = [...ownMethods(consumer.constructor), ...Object.keys(consumer)]
  return names.some((name) => name.includes('.') && !name.startsWith(`${type}.`))
}

/** A class that writes one of these calls what it likes. */
const calling = ['dispatch', 'run']

/** The methods that a class needs one of, when it has written none; its own ones with them. */
export function lacking(value: unknown): { readonly expected: readonly string[]; readonly found: string } | undefined {
  const { methods: expected, optional } = servesOf(value) ?? {}
  if (!expected || optional || typeof value !== 'function') return undefined
  const methods = ownMethods(value)
  if (methods.some(counts) || ownMethodsOfOne(value).some(counts)) return undefined
  return { expected, found: methods.join(', ') || 'none' }

  function counts(name: string): boolean {
    return expected?.includes(name) === true || name.includes('.') || calling.includes(name)
  }
}

/** The methods that a class has written, and that neither an event nor the class itself calls; with the names of those that events do. */
export function uncalled(value: unknown): { readonly written: readonly string[]; readonly called: readonly string[] } {
  const { protocols = [], methods } = servesOf(value) ?? {}
  if (!methods || typeof value !== 'function') return { written: [], called: [] }
  const [own, base] = lineOf(value)
  const known = base?.prototype as object
  const called = [...methods, ...Object.getOwnPropertyNames(known).filter((name) => name.includes('.'))]
  const text = own.map(String).join('\n')
  const all = ownMethods(value)
  if (all.some((name) => calling.includes(name))) return { written: [], called }
  const written = all.filter((name) => {
    // Messages of groups have types of their own.
    const group = name.includes('.') && !protocols.some((protocol) => name.startsWith(`${protocol}.`))
    return !group && !methods.includes(name) && !(name in known) && text.split(name).length === 2
  })
  return { written, called }
}

/** What is written below the class of this package, by whom a class is derived from as well. */
// oxlint-disable-next-line typescript/no-unsafe-function-type -- of any class
function ownMethods(made: Function): readonly string[] {
  const [own] = lineOf(made)
  const names = own.flatMap((each) => Object.getOwnPropertyNames(each.prototype))
  return [...new Set(names)].filter((name) => name !== 'constructor')
}

/** A class with those that it is derived from, down to the class of this package. */
// oxlint-disable-next-line typescript/no-unsafe-function-type -- of any class
function lineOf(made: Function): readonly [own: readonly Function[], base: Function | undefined] {
  // oxlint-disable-next-line typescript/no-unsafe-function-type -- as above
  const own: Function[] = []
  let each: unknown = made
  for (; typeof each === 'function' && !Object.hasOwn(each, serves); each = Object.getPrototypeOf(each)) own.push(each)
  return [own, typeof each === 'function' ? each : undefined]
}

/** Methods may be fields too. One that cannot be made by itself says nothing: all of them are taken for there. */
// oxlint-disable-next-line typescript/no-unsafe-function-type -- of any class
function ownMethodsOfOne(made: Function): readonly string[] {
  try {
    return Object.entries(Reflect.construct(made, []) as object).flatMap(([name, value]) =>
      typeof value === 'function' ? name : [],
    )
  } catch {
    return ['run']
  }
}
