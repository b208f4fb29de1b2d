/** What a consumer class, or an application made of one, says of itself: which protocols it takes, and which methods they call. */
import { SignalboxError } from './errors.ts'

export interface Serves {
  /** Scopes of any other type are refused. */
  readonly protocols: readonly string[]
  /** A class that writes none of these can do nothing with its events; left out: it may write none. */
  readonly methods?: readonly string[]
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

/** The methods that a class needs one of, when it has written none; its own ones with them. */
export function lacking(value: unknown): { readonly expected: readonly string[]; readonly found: string } | undefined {
  const expected = servesOf(value)?.methods
  if (!expected || typeof value !== 'function') return undefined
  const methods = ownMethods(value)
  if (methods.some(counts) || ownMethodsOfOne(value).some(counts)) return undefined
  return { expected, found: methods.join(', ') || 'none' }

  function counts(name: string): boolean {
    return expected?.includes(name) === true || name.includes('.') || ['dispatch', 'run'].includes(name)
  }
}

/** What is written below the class of this package, by whom a class is derived from as well. */
// oxlint-disable-next-line typescript/no-unsafe-function-type -- of any class
function ownMethods(made: Function): readonly string[] {
  const names = new Set<string>()
  for (let each: unknown = made; typeof each === 'function' && !Object.hasOwn(each, serves);) {
    for (const name of Object.getOwnPropertyNames(each.prototype)) if (name !== 'constructor') names.add(name)
    each = Object.getPrototypeOf(each)
  }
  return [...names]
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
