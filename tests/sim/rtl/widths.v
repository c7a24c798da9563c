// Buses of many widths: 13 elements of 11 bits, 37 of 1 bit, 2 of 62 bits; names that C++ or Verilator would have to change.
module widths (
    input  wire         clk,
    input  wire         rst,
    input  wire         in_valid,
    input  wire [142:0] friend,
    input  wire [36:0]  bits__in,
    input  wire [123:0] wide,
    output wire         out_valid,
    output wire [155:0] sums,
    output wire [36:0]  inverse,
    output wire [123:0] minus
);
    reg [1:0]   valid;
    reg [142:0] a;
    reg [36:0]  b, b2;
    reg [123:0] c, c2;
    assign out_valid = valid[1];
    assign inverse = b2;
    assign minus = c2;

    always @(posedge clk) begin
        valid <= rst ? 2'd0 : {valid[0], in_valid};
        a <= friend;
        b <= bits__in;
        c <= wide;
        b2 <= ~b;
        c2 <= ~c;
    end
    genvar i;
    generate
        for (i = 0; i < 13; i = i + 1) begin : lane
            reg [11:0] sum;
            always @(posedge clk) sum <= {1'b0, a[i * 11 +: 11]} + {11'd0, b[i]};
            assign sums[i * 12 +: 12] = sum;
        end
    endgenerate
endmodule
