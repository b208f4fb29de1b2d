/** Makes a value ready to go to another thread: bytes are copied once at most, and never more than the value itself shows. */
import type { Transferable } from 'node:worker_threads'
import { isAnyArrayBuffer, isDate, isProxy, isSharedArrayBuffer, isUint8Array } from 'node:util/types'

/** What `transfer` puts around a value; known by its key in every copy of this package. */
const listKey = Symbol.for('signalbox.bridge.transfer')

interface Transferring {
  readonly [listKey]: readonly Transferable[]
  readonly value: unknown
}

export interface Packed {
  readonly value: unknown
  readonly transfer: Transferable[]
  /** Whether it surely can be cloned. Otherwise that only shows when it is sent. */
  readonly sure: boolean
}

interface Walk {
  readonly transfer: Transferable[]
  sure: boolean
  left: number
}

/** Larger values are sent as they are, and what they hold is not looked at. */
const maxNodes = 10_000
const maxDepth = 100

/**
 * Marks a value whose buffers (or ports) are to move to the other thread instead of being copied: they are empty here afterwards.
 * For arguments, results, and what a handler sends. Not for the memory of a small `Buffer`, which it shares with others.
 *
 * @example
 * return transfer(pixels, [pixels.buffer])
 */
export function transfer<T>(value: T, what: readonly Transferable[]): T {
  const transferring: Transferring = { [listKey]: what, value }
  return transferring as T // `pack` takes the value out again before anybody sees it
}

/** Of one value. */
export function pack(value: unknown): Packed {
  const walk: Walk = { transfer: [], sure: true, left: maxNodes }
  return { value: walkValue(value, walk, 0), transfer: walk.transfer, sure: walk.sure && walk.transfer.length === 0 }
}

/** Of a function's arguments. */
export function packAll(values: readonly unknown[]): Packed & { readonly value: readonly unknown[] } {
  if (values.every(isPrimitive)) return { value: values, transfer: [], sure: true }
  const walk: Walk = { transfer: [], sure: true, left: maxNodes }
  const value = values.map((each) => walkValue(each, walk, 0))
  return { value, transfer: walk.transfer, sure: walk.sure && walk.transfer.length === 0 }
}

/** As `pack`, for a value that nobody else looks at any more: its bytes move, where they have their memory for themselves. */
export function packToMove(value: unknown): Packed {
  const found = new Set<ArrayBuffer>()
  collect(value, found, { left: maxNodes })
  return pack(transfer(value, [...found]))
}

function walkValue(value: unknown, walk: Walk, depth: number): unknown {
  if (typeof value === 'function' || typeof value === 'symbol') walk.sure = false
  if (typeof value !== 'object' || value === null) return value
  if (--walk.left < 0 || depth > maxDepth) {
    walk.sure = false
    return value
  }
  if (isUint8Array(value)) return ownBytes(value, walk)
  if (isProxy(value)) {
    walk.sure = false
    return value
  }
  if (listKey in value) return unwrap(value as Transferring, walk, depth)
  if (Array.isArray(value)) return walkArray(value, walk, depth)
  if (isPlainObject(value)) return walkObject(value, walk, depth)
  if (!isDate(value) && !isMemory(value)) walk.sure = false
  return value
}

function unwrap(transferring: Transferring, walk: Walk, depth: number): unknown {
  walk.transfer.push(...transferring[listKey])
  return walkValue(transferring.value, walk, depth + 1)
}

/** A view is cloned with all of the memory behind it: for a `Buffer` out of Node's pool that is 64 KiB of other people's bytes. */
function ownBytes(bytes: Uint8Array, walk: Walk): Uint8Array {
  const { buffer, byteLength } = bytes
  if (isSharedArrayBuffer(buffer) || walk.transfer.includes(buffer)) return bytes
  if (buffer.detached) walk.sure = false
  if (buffer.byteLength === byteLength) return bytes
  const own = new Uint8Array(bytes)
  walk.transfer.push(own.buffer)
  return own
}

function walkArray(array: readonly unknown[], walk: Walk, depth: number): readonly unknown[] {
  let copy: unknown[] | undefined
  for (const [index, part] of array.entries()) {
    const packed = walkValue(part, walk, depth + 1)
    if (packed === part) continue
    copy ??= [...array]
    copy[index] = packed
  }
  return copy ?? array
}

function walkObject(object: object, walk: Walk, depth: number): object {
  let copy: Record<string, unknown> | undefined
  for (const [key, part] of Object.entries(object)) {
    const packed = walkValue(part, walk, depth + 1)
    if (packed === part) continue
    copy ??= { ...object }
    copy[key] = packed
  }
  return copy ?? object
}

function collect(value: unknown, found: Set<ArrayBuffer>, budget: { left: number }): void {
  if (typeof value !== 'object' || value === null || --budget.left < 0) return
  if (isUint8Array(value)) {
    const { buffer, byteLength } = value
    if (!isSharedArrayBuffer(buffer) && byteLength > 0 && buffer.byteLength === byteLength) found.add(buffer)
  } else if (Array.isArray(value) || isPlainObject(value)) {
    for (const part of Object.values(value)) collect(part, found, budget)
  }
}

const isPrimitive = (value: unknown): boolean =>
  value === null || !['object', 'function', 'symbol'].includes(typeof value)

/** Bytes of any kind, if they are still here. */
function isMemory(value: object): boolean {
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value
  return isAnyArrayBuffer(buffer) && (isSharedArrayBuffer(buffer) || !buffer.detached)
}

/** Of any realm: its prototype is a root, or it has none. */
function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
