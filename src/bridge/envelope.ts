/** Errors as plain data, because structured cloning loses their names, codes and stacks; and back again. */
import { inspect } from 'node:util'
import { SignalboxError, errorCodes, type ErrorCode } from '../runtime/errors.ts'

export interface EncodedError {
  readonly name: string
  readonly message: string
  readonly stack: string
  /** `code` and its like: what else the error says of itself, when it is plain. */
  readonly fields: Readonly<Record<string, Plain>>
  readonly cause?: EncodedError | { readonly plain: Plain }
  /** Those of an AggregateError. */
  readonly errors?: readonly EncodedError[]
}

type Plain = string | number | bigint | boolean | null | undefined

/** Deeper causes are left out: a cause may be its own. */
const maxDepth = 8

const builtIn: Readonly<Record<string, new (message: string, options?: ErrorOptions) => Error>> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
}

/** An error that came from the other side, until whoever waits for it makes an error of it: in whose stack its caller is. */
export class RemoteError {
  readonly encoded: EncodedError

  constructor(encoded: EncodedError) {
    this.encoded = encoded
  }
}

/** `where` names what threw, for when it threw something that is no error. */
export function encodeError(error: unknown, where: string, depth = 0): EncodedError {
  try {
    return Error.isError(error) ? encode(error, where, depth) : encode(notAnError(error, where), where, depth)
  } catch (second) {
    // An error that throws when it is looked at.
    return encode(notAnError(inspect(second), where), where, maxDepth)
  }
}

function encode(error: Error, where: string, depth: number): EncodedError {
  const { name, message, stack, cause } = error
  const fields: Record<string, Plain> = {}
  for (const [key, value] of Object.entries(error)) {
    if (isPlain(value) && key !== 'name') fields[key] = value
  }
  // A DOMException has a number for a code, in its prototype, that says less than its name.
  if (!('code' in fields) && 'code' in error && typeof error.code === 'string') fields['code'] = error.code
  const deeper = depth < maxDepth
  return {
    name: String(name),
    message: String(message),
    stack: String(stack ?? `${name}: ${message}`),
    fields,
    ...(deeper && cause !== undefined && { cause: encodeCause(cause, where, depth) }),
    ...(deeper &&
      'errors' in error &&
      Array.isArray(error.errors) && { errors: error.errors.map((each) => encodeError(each, where, depth + 1)) }),
  }
}

function encodeCause(cause: unknown, where: string, depth: number): NonNullable<EncodedError['cause']> {
  if (isPlain(cause)) return { plain: cause }
  return Error.isError(cause) ? encodeError(cause, where, depth + 1) : { plain: inspect(cause) }
}

/** The error again; its stack has the frames of both threads, `side` names the one that it came from. */
export function decodeError(encoded: EncodedError, side: string): Error {
  const error = revive(encoded, side)
  const here = String(error.stack).split('\n').filter(isFrame)
  const stack = [encoded.stack, `    -- ${side}, called from --`, ...here].join('\n')
  Object.defineProperty(error, 'stack', { value: stack, configurable: true, writable: true })
  return error
}

/** What was thrown; for an error of the other side, as an error of this one. */
export function thrown(error: unknown, side: string): unknown {
  return error instanceof RemoteError ? decodeError(error.encoded, side) : error
}

function revive(encoded: EncodedError, side: string): Error {
  const { name, message, fields, errors } = encoded
  const options = 'cause' in encoded ? { cause: reviveCause(encoded.cause, side) } : undefined
  const code = fields['code']
  if (name === 'SignalboxError' && isErrorCode(code)) return new SignalboxError(code, message, options)
  const Kind = Object.hasOwn(builtIn, name) ? (builtIn[name] ?? Error) : Error
  const error = errors
    ? new AggregateError(
        errors.map((each) => decodeError(each, side)),
        message,
        options,
      )
    : new Kind(message, options)
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true })
  return Object.assign(error, fields)
}

function reviveCause(cause: EncodedError['cause'], side: string): unknown {
  if (cause === undefined || 'plain' in cause) return cause?.plain
  return decodeError(cause, side)
}

function notAnError(value: unknown, where: string): SignalboxError {
  const cause = isPlain(value) ? value : inspect(value)
  return new SignalboxError('bridge_failed', `${where} threw ${inspect(value)}, expected an Error`, { cause })
}

function isPlain(value: unknown): value is Plain {
  return value === null || !['object', 'function', 'symbol'].includes(typeof value)
}

const isErrorCode = (code: unknown): code is ErrorCode => typeof code === 'string' && Object.hasOwn(errorCodes, code)
const isFrame = (line: string): boolean => /^\s+at /.test(line)
