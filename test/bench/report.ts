/** What the benchmark says: each case as one line of a table, and as JSON. */
import type { BenchCase } from './cases.ts'
import type { Sample } from './measure.ts'

/** One round: both sides, one right after the other. */
export interface Round {
  readonly gateway: Sample
  readonly bare: Sample
}

/** The medians of a case's rounds; `ratio` is the median of the ratios of each round. */
export interface Result {
  readonly name: string
  readonly unit: string
  readonly gateway: number
  readonly bare: number
  readonly ratio: number
  readonly target: number
  readonly lowerIsBetter: boolean
}

export function resultOf(one: BenchCase, rounds: readonly Round[]): Result {
  const { name, unit, target, lowerIsBetter } = one
  return {
    name,
    unit,
    gateway: median(rounds.map(({ gateway }) => gateway.value)),
    bare: median(rounds.map(({ bare }) => bare.value)),
    ratio: median(ratios(one, rounds)),
    target,
    lowerIsBetter,
  }
}

/** The columns of the table, under `header`. */
export function lineOf(one: BenchCase, rounds: readonly Round[]): string {
  const result = resultOf(one, rounds)
  const all = ratios(one, rounds)
  const met = one.lowerIsBetter ? result.ratio <= one.target : result.ratio >= one.target
  const bound = rounds.some(({ gateway, bare }) => gateway.generatorBound || bare.generatorBound)
  const columns = [
    one.unit,
    shown(result.gateway),
    shown(result.bare),
    shown(result.ratio),
    `${shown(Math.min(...all))} to ${shown(Math.max(...all))}`,
    cpuRatio(rounds),
    `${one.lowerIsBetter ? '<=' : '>='} ${one.target}`,
  ]
  return row(one.name, columns, `${met ? 'met' : 'missed'}${bound ? ', generator-bound' : ''}`)
}

export const header = row('case', ['unit', 'gateway', 'bare', 'ratio', 'spread', 'by cpu', 'target'], '')

export function row(name: string, columns: readonly string[], remark: string): string {
  const [unit = '', ...figures] = columns
  const widths = [10, 10, 8, 14, 8, 8]
  const cells = figures.map((figure, index) => figure.padStart(widths[index] ?? 8))
  return [name.padEnd(24), unit.padEnd(13), ...cells, ` ${remark}`].join(' ').trimEnd()
}

function ratios({ compare }: BenchCase, rounds: readonly Round[]): number[] {
  return rounds.map(({ gateway, bare }) =>
    compare === 'difference' ? gateway.value - bare.value : gateway.value / bare.value,
  )
}

/** How much more the gateway does with the same processor time: what counts when others use the machine too. */
function cpuRatio(rounds: readonly Round[]): string {
  const known = rounds.flatMap(({ gateway, bare }) => (gateway.cpu && bare.cpu ? bare.cpu / gateway.cpu : []))
  return known.length === 0 ? '-' : shown(median(known))
}

function shown(value: number): string {
  return Math.abs(value) < 100 ? value.toFixed(2) : Math.round(value).toLocaleString('en')
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}
