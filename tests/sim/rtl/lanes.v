// y = 3 x - 5 z in four lanes of 10 bits, three register ranks. `key` carries, with a magic number in its upper 16 bits, the fault
// that the design shall show from then on; 0 is none.
module lanes (
    input  wire        clk,
    input  wire        rst,
    input  wire        in_valid,
    input  wire [39:0] x,
    input  wire [39:0] z,
    input  wire [19:0] key,
    output wire        out_valid,
    output wire [55:0] y
);
    reg [3:0] fault = 0;
    reg [7:0] count = 0;  // vectors since the fault is known
    reg       late = 0;
    reg [3:0] valid;
    reg [9:0] leak;
    reg       never;
    wire      known = key[19:4] == 16'hA5C3;
    wire      idle = !in_valid && valid == 0;
    wire      lost = fault == 3 && count == 10;
    wire      more = fault == 2 && count > 100 && !late;
    wire      slow = fault == 5 && late;

    always @(posedge clk) begin
        if (in_valid && known) begin
            fault <= key[3:0];
            if (fault != 0 && count != 255) count <= count + 1;
        end
        if (fault == 2 && count > 100 && !in_valid || fault == 5 && count > 50 && idle) late <= 1;
        if (fault == 6 && count > 5) $finish;
        leak <= in_valid ? 10'd0 : x[9:0];
        valid <= rst ? 4'd0 : {valid[2:0], in_valid ? !lost : more};
    end
    assign out_valid = slow ? valid[3] : valid[2];

    genvar i;
    generate
        for (i = 0; i < 4; i = i + 1) begin : lane
            reg signed [9:0] a, b;
            reg signed [13:0] p, q, r, s;
            wire wrong = (fault == 1 && i == 2 && a == -10'sd512) || (fault == 7 && i == 0 && never);
            always @(posedge clk) begin
                a <= x[i * 10 +: 10] ^ (fault == 4 ? leak : 10'd0);
                b <= z[i * 10 +: 10];
                p <= ({{4{a[9]}}, a} * 14'sd3) ^ {13'd0, wrong};
                q <= {{4{b[9]}}, b} * 14'sd5;
                r <= p - q;
                s <= r;
            end
            assign y[i * 14 +: 14] = slow ? s : r;
        end
    endgenerate
endmodule
