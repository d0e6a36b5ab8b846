// Attention of f32 by fused multiply-adds. After attend.h and product_fma.h.
//
// 16 neighbouring lanes have a row: every 16th key of a tile, and runs of columns of the result. The two rows of a
// warp's halves are neighbours. All slots are [position][column], padded, so lanes that read 16 bytes of neighbouring
// keys or rows meet no bank twice. Weights go from lane to lane through shared memory, within the warp.
template <int ROWS, int KEYS, int WIDTH, int VALUES, int WARPS, int STAGES>
struct attend_fma {
  static constexpr int threads = 32 * WARPS, lanes = 16;
  static constexpr int rows = ROWS / (2 * WARPS), keys = KEYS / lanes, values = VALUES / lanes;  // of a thread
  static constexpr int piece = values % 4 == 0 ? 4 : 2;                                          // of values, together
  typedef lines_of_k<f32, WIDTH> layout_qk;
  typedef lines_of_k<f32, VALUES> layout_v;
  static constexpr int pitch_w = KEYS * 4 + 16;  // of weights, [row][key]
  static constexpr int bytes_q = ROWS * layout_qk::pitch, bytes_w = ROWS * pitch_w;
  static constexpr int bytes_k = KEYS * layout_qk::pitch, bytes_v = KEYS * layout_v::pitch;
  static constexpr int shared_bytes = bytes_q + bytes_w + STAGES * (bytes_k + bytes_v);
  static_assert(rows * 2 * WARPS == ROWS && keys * lanes == KEYS && values * lanes == VALUES && values % 2 == 0 &&
                    WIDTH % 4 == 0,
                "uneven tile");

  template <class Q, class K, class V, class SCORE, class OUTPUT, class LOG_SUM>
  static DEV_MEMBER void run(char* shared, i64 key_begin, i64 key_end, const Q& q, const K& k, const V& v,
                             const SCORE& score, const OUTPUT& output, const LOG_SUM& log_sum) {
    const int lane = int(threadIdx.x % lanes),
              first_row = int(threadIdx.x / 32) * 2 * rows + int(threadIdx.x / lanes % 2);
    const char* const queries = shared + first_row * layout_qk::pitch;
    char* const weights = shared + bytes_q + first_row * pitch_w;
    stage_once(shared, mover<Q, layout_qk, WIDTH, ROWS, threads>(q, 0), ROWS);

    softmax_row state[rows];
    _Pragma("unroll") for (int i = 0; i < rows; ++i) state[i].clear();
    f32 result[rows][values] = {};
    stage_tiles<KEYS, STAGES, bytes_k, bytes_v>(
        shared + bytes_q + bytes_w, key_begin, key_end, mover<K, layout_qk, WIDTH, KEYS, threads>(k, key_begin),
        mover<V, layout_v, VALUES, KEYS, threads>(v, key_begin), [&](const char* slot_k, const char* slot_v, i64 key) {
          f32 scores[rows][keys] = {};
          score_keys(scores, queries, slot_k + lane * layout_qk::pitch);
          _Pragma("unroll") for (int i = 0; i < rows; ++i) {
            _Pragma("unroll") for (int j = 0; j < keys; ++j) {
              const i64 at = key + j * lanes + lane;
              scores[i][j] = at < key_end ? score.at(first_row + 2 * i, at, scores[i][j]) : minus_infinity();
            }
            weigh(scores[i], result[i], state[i], score.factor());
            _Pragma("unroll") for (int j = 0; j < keys; ++j) {
              *(f32*)(weights + 2 * i * pitch_w + (j * lanes + lane) * 4) = scores[i][j];
            }
          }
          sync_warp();
          add_values(result, weights, slot_v + lane * piece * 4);
        });

    _Pragma("unroll") for (int i = 0; i < rows; ++i) {
      state[i].sum = reduce_lanes<sum, lanes>(state[i].sum);
      const int row = first_row + 2 * i;
      const f32 share = 1 / state[i].sum;
      _Pragma("unroll") for (int j = 0; j < values; j += 2) {
        const int column = (j / piece * lanes + lane) * piece + j % piece;
        output(row, column, result[i][j] * share, result[i][j + 1] * share);
      }
    }
    _Pragma("unroll") for (int i = 0; i < rows; ++i) log_sum(first_row + 2 * i, state[i].log_sum());
  }

 private:
  static DEV_MEMBER vec<f32, 4> four(const char* from) {
    const packet<16> x = load_packet<16>(from);
    return {{float_of(x.words[0]), float_of(x.words[1]), float_of(x.words[2]), float_of(x.words[3])}};
  }

  // scores += queries · keys, four columns at a time.
  static DEV_MEMBER void score_keys(f32 (&scores)[rows][keys], const char* queries, const char* slot) {
    _Pragma("unroll 8") for (int column = 0; column < WIDTH; column += 4) {
      vec<f32, 4> row[rows];
      _Pragma("unroll") for (int i = 0; i < rows; ++i) row[i] = four(queries + 2 * i * layout_qk::pitch + column * 4);
      _Pragma("unroll") for (int j = 0; j < keys; ++j) {
        const vec<f32, 4> key = four(slot + j * lanes * layout_qk::pitch + column * 4);
        _Pragma("unroll") for (int i = 0; i < rows; ++i) {
          _Pragma("unroll") for (int e = 0; e < 4; ++e) scores[i][j] = op_fma(row[i].v[e], key.v[e], scores[i][j]);
        }
      }
    }
  }

  // A row's scores become weights; its result shrinks to match.
  static DEV_MEMBER void weigh(f32 (&scores)[keys], f32 (&result)[values], softmax_row& state, f32 factor) {
    f32 largest = scores[0];
    _Pragma("unroll") for (int j = 1; j < keys; ++j) largest = softmax_row::larger::of(largest, scores[j]);
    const f32 shrink = state.raise(reduce_lanes<softmax_row::larger, lanes>(largest), factor);
    state.sum *= shrink;
    _Pragma("unroll") for (int j = 0; j < values; ++j) result[j] *= shrink;
    _Pragma("unroll") for (int j = 0; j < keys; ++j) {
      scores[j] = state.weight(scores[j], factor);
      state.sum += scores[j];
    }
  }

  // result += weights · values, four keys at a time.
  static DEV_MEMBER void add_values(f32 (&result)[rows][values], const char* weights, const char* slot) {
    _Pragma("unroll 8") for (int key = 0; key < KEYS; key += 4) {
      vec<f32, 4> weight[rows];
      _Pragma("unroll") for (int i = 0; i < rows; ++i) weight[i] = four(weights + 2 * i * pitch_w + key * 4);
      _Pragma("unroll") for (int e = 0; e < 4; ++e) {
        _Pragma("unroll") for (int j = 0; j < values; j += piece) {
          const char* const from = slot + (key + e) * layout_v::pitch + j * lanes * 4;
          const packet<piece* 4> value = load_packet<piece * 4>(from);
          _Pragma("unroll") for (int n = 0; n < piece; ++n) {
            _Pragma("unroll") for (int i = 0; i < rows; ++i) {
              result[i][j + n] = op_fma(weight[i].v[e], float_of(value.words[n]), result[i][j + n]);
            }
          }
        }
      }
    }
  }
};
